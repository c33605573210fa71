"""How often a password may be guessed: after a few wrong ones, longer and longer pauses."""

from __future__ import annotations

import time
from collections.abc import Callable

_FREE = 5
_LONGEST = 300.0
_FORGET = 3600.0
_NAMES = 1000  # remembered at most; those that were tried longest ago are forgotten first


class Attempts:
    """Failures by name, in memory: a restart needs the terminal, and who has that needs no guessing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    def wait(self, name: str) -> float:
        """Seconds until the next try for this name; 0 if it may be made now."""
        count, last = self._recent(name)
        pause = min(2.0 ** (count - _FREE), _LONGEST) if count >= _FREE else 0.0
        return max(0.0, last + pause - self._clock())

    def failed(self, name: str) -> None:
        """A try was wrong (or has begun: one that is right afterwards is forgotten by `succeeded`)."""
        count, _ = self._recent(name)
        self._failures.pop(name, None)
        self._failures[name] = (count + 1, self._clock())
        while len(self._failures) > _NAMES:
            self._failures.pop(next(iter(self._failures)))

    def succeeded(self, name: str) -> None:
        self._failures.pop(name, None)

    def _recent(self, name: str) -> tuple[int, float]:
        count, last = self._failures.get(name, (0, 0.0))
        return (0, 0.0) if self._clock() - last > _FORGET else (count, last)
