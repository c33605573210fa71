"""Engines that share the memory of a machine: loaded when asked for, unloaded when others need the room.

An engine with a request in work is never unloaded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kajiya.core.language import tr
from kajiya.inference.client import RestartingEngine
from kajiya.inference.memory import too_large
from kajiya.inference.protocol import BusyError


class EnginePool:
    """Lets engines load within `budget` bytes, one at a time. Give `admit` to each engine."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._engines: list[RestartingEngine[Any]] = []
        self._loading = asyncio.Lock()

    def add(self, engine: RestartingEngine[Any]) -> None:
        """Count this engine, and unload it where that makes room for others."""
        self._engines.append(engine)

    def remove(self, engine: RestartingEngine[Any]) -> None:
        """Count this engine no more; it is about to be closed."""
        self._engines.remove(engine)

    @asynccontextmanager
    async def admit(self, engine: RestartingEngine[Any]) -> AsyncIterator[float]:
        """Make room for `engine`, which loads inside the block; gives the whole budget.

        The engines that were not used for longest go first. Raises `ResourceError` if it can never fit,
        `BusyError` if all the others are at work.
        """
        async with self._loading:
            if engine.needs > self._budget:
                raise too_large(engine.needs, self._budget)
            while sum(map(_held, self._engines)) + engine.needs > self._budget:
                resting = [own for own in self._engines if own.restful and own is not engine]
                if not resting:
                    raise BusyError(
                        tr(
                            "the memory is taken by models that are answering",
                            "メモリを、回答中のほかのモデルが使っています",
                        ),
                        fix=tr("try again soon", "少し待ってからもう一度お試しください"),
                    )
                await min(resting, key=lambda own: own.last_used).unload()
            yield self._budget

    async def unload_idle(self, seconds: float) -> None:
        """Unload, for ever, what nobody has asked for in so many seconds; at most a quarter late.

        0 unloads nothing.
        """
        while seconds:
            now = time.monotonic()
            for engine in list(self._engines):
                if engine.last_used + seconds <= now:
                    await engine.unload()
            await asyncio.sleep(seconds / 4)


def _held(engine: RestartingEngine[Any]) -> int:
    """Bytes that must be left to it: what it has, and what it may still come to take."""
    return max(engine.memory, engine.needs) if engine.available else engine.memory
