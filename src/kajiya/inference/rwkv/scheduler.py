"""Who is next. Prompts are read in pieces, a piece between two tokens of everyone who is writing.

So a long prompt slows the running answers down and never stops them, and short prompts that arrive
together are read together: the weights are fetched from memory once for all of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from kajiya.inference.rwkv.batch import Batch, Turn
from kajiya.inference.rwkv.request import Pending

# Tokens of prompts that are read between two tokens of the running answers.
PIECE = 256


class Scheduler:
    """Takes requests from any thread; the engine's thread asks `wait` what there is to do."""

    def __init__(self, slots: int) -> None:
        self.batch = Batch(slots)
        self._arrived: deque[Pending] = deque()
        self._changes: list[tuple[Callable[[], bool], Future[None]]] = []
        self._changed = threading.Condition()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def add(self, request: Pending) -> bool:
        """Put a request at the end of the queue; False if the engine has ended."""
        with self._changed:
            if not self._closed:
                self._arrived.append(request)
                self._changed.notify()
            return not self._closed

    def close(self) -> list[Pending]:
        """Let `wait` return False from now on; returns whoever was still waiting or in work."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            for _, future in self._changes:
                future.cancel()
            return [*self._arrived, *self.batch.members]

    def wait(self) -> bool:
        """Return when there is something to do; False when there never will be."""
        with self._changed:
            self._changed.wait_for(self._has_work)
            return not self._closed

    def _has_work(self) -> bool:
        waiting = self._arrived or self.batch.members or self._changes
        return self._closed or bool(waiting)

    def ask(self, change: Callable[[], bool]) -> Future[None]:
        """Have `change` called between steps until it returns True: then the result is there.

        The result is cancelled if the engine ends before.
        """
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
            else:
                self._changes.append((change, future))
                self._changed.notify()
        return future

    def change(self) -> None:
        """Call every change that is asked for; what is not done yet stays."""
        for item in tuple(self._changes):
            change, future = item
            if change():
                with self._changed:
                    self._changes.remove(item)
                if future.set_running_or_notify_cancel():
                    future.set_result(None)

    def uses(self, adapter: str) -> bool:
        """Whether an answer is being made with it, or waits to be."""
        with self._changed:
            everyone = [*self._arrived, *self.batch.members]
        return any(adapter in dict(pending.mixture) for pending in everyone)

    def admit(self) -> list[Pending]:
        """Give those who wait the free slots, in the order in which they came; returns them."""
        admitted = []
        with self._changed:
            while self._arrived and not self.batch.full:
                admitted.append(self._arrived.popleft())
                self.batch.join(admitted[-1])
        return admitted

    def turns(self) -> list[Turn]:
        """What the next step reads: a token of each answer, and up to `PIECE` of the first prompts."""
        found, room = [], PIECE
        for member in self.batch.members:
            tokens = member.next_tokens(room)
            if member.reading:
                room -= len(tokens)
            if tokens:
                found.append(Turn(member, tokens))
        return found
