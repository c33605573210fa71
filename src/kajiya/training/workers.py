"""Threads that share out a batch, each on cores of its own.

A small model's step is thousands of short operations. Handed to all cores one by one, each of them ends
in a barrier where the cores wait for the slowest; a thread with its own rows waits once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_MOST = 8  # each worker reads all weights: more of them would wait for the memory
_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


class Workers:
    """Runs a function on the parts of a batch at the same time; on a GPU there is one worker.

    Results come in the order of the parts, so what is made of them does not depend on who was faster.
    """

    def __init__(self, device: torch.device, most: int = _MOST) -> None:
        self.threads = torch.get_num_threads()
        self.count = min(self.threads, most) if device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="kajiya-worker")

    def map(self, function: Callable[[_Part], _Result], parts: Sequence[_Part]) -> list[_Result]:
        """`function` of every part; the cores are divided evenly among them."""
        if len(parts) == 1:
            return [function(parts[0])]
        threads = max(1, self.threads // min(len(parts), self.count))

        def limited(part: _Part) -> _Result:
            torch.set_num_threads(threads)
            return function(part)

        try:
            return list(self._pool.map(limited, parts))
        finally:
            # The limit is kept for each thread, but also as the default of threads to come.
            torch.set_num_threads(self.threads)
