"""A few threads that run one compiled function together, and the barrier at which they meet inside it."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from kajiya.models.compiled import loop

_SPINS = 2000  # some microseconds; a neighbour that is late by more has lost its core

_yield_core = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def _add(context: Any, counters: Any, index: Any, value: Any) -> Any:
    """`counters[index] += value`, atomically; returns what was there."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(memory.data, [args[1]])
        return builder.atomic_rmw("add", address, args[2], "seq_cst")

    return types.int64(counters, types.intp, types.int64), generate


@loop
def meet(counters: Any, members: int) -> None:
    """Return when all `members` have come here. `counters`: two int64, shared, zero at first."""
    if members == 1:
        return
    turn = _add(counters, 1, 0)
    if _add(counters, 0, 1) == members - 1:
        _add(counters, 0, -members)
        _add(counters, 1, 1)
        return
    spins = 0
    while _add(counters, 1, 0) == turn:
        spins += 1
        if spins > _SPINS:
            _yield_core()


class Team:
    """`members` threads, the caller's among them. `run` from one thread at a time."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.counters = np.zeros(2, np.int64)
        self._calls: list[SimpleQueue[Callable[[], None] | None]] = []
        self._done: SimpleQueue[None] = SimpleQueue()
        for _ in range(members - 1):
            calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
            threading.Thread(target=self._serve, args=(calls,), daemon=True).start()
            self._calls.append(calls)

    def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """`function(*arguments, counters, member, members)` in every thread, ended when all have."""
        for member, calls in enumerate(self._calls, start=1):
            calls.put(partial(function, *arguments, self.counters, member, self.members))
        function(*arguments, self.counters, 0, self.members)
        for _ in self._calls:
            self._done.get()

    def close(self) -> None:
        """Let the threads end."""
        for calls in self._calls:
            calls.put(None)

    def _serve(self, calls: SimpleQueue[Callable[[], None] | None]) -> None:
        while (call := calls.get()) is not None:
            try:
                call()
            except BaseException:
                # The others wait for this one at the barrier and would for ever: nothing can be saved.
                traceback.print_exc()
                os._exit(1)
            self._done.put(None)
