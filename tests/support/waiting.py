"""Waiting for something to become true, without guessing how long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_LIMIT = 30.0


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition()` holds; fail if it does not within half a minute."""
    deadline = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], bool]) -> None:
    """`until` for tests that are not coroutines."""
    asyncio.run(until(condition))
