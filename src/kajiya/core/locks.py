"""Locks between processes that the system releases when their holder dies, however it dies.

They work among the processes of one machine; no lock here outlives its holder or needs cleaning up.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.02


@contextmanager
def locked(path: Path, wait_seconds: float | None = None) -> Iterator[int]:
    """Hold the exclusive lock of the file `path` (made if missing) inside the block.

    Yields the locked descriptor: a child process that is given it (`pass_fds`) goes on holding the
    lock after the block. Waits for ever, or raises `TimeoutError` after `wait_seconds`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, wait_seconds)
        yield descriptor
    finally:
        # Closing, not unlocking: unlocking would take the lock from a child that shares it.
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, wait_seconds: float | None) -> None:
    if wait_seconds is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(path) from None
            time.sleep(_POLL_SECONDS)


def is_locked(path: Path) -> bool:
    """Whether some process holds `path` now.

    The look itself holds a shared lock for an instant, so who wants the lock should wait a moment
    rather than give up at the first refusal.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
