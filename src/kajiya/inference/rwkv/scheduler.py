"""Who is next. Prompts are read in pieces, a piece between two tokens of everyone who is writing.

So a long prompt slows the running answers down and never stops them, and short prompts that arrive
together are read one after the other while the first already answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from kajiya.inference.rwkv.batch import Batch
from kajiya.inference.rwkv.request import Pending


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
        """Let `wait` return False from now on; returns whoever was still waiting or writing."""
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

    def reading(self) -> Pending | None:
        """The first request whose prompt is not read, if there is a slot for it."""
        with self._changed:
            return self._arrived[0] if self._arrived and not self.batch.full else None

    def drop(self, request: Pending) -> None:
        """Forget the request that `reading` returned."""
        with self._changed:
            self._arrived.remove(request)

    def join(self, request: Pending) -> None:
        """The request that `reading` returned has been read: it writes from now on."""
        self.batch.join(request)  # first, so that `close` finds it in one place or the other
        self.drop(request)
