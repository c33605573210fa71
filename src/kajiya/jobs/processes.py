"""Finding and ending a job's processes, and never anybody else's.

A process belongs to a job if it was started with the job's folder in its environment; numbers
alone prove nothing, since the system uses them again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "KAJIYA_JOB_FOLDER"


def members(folder: Path) -> Iterator[psutil.Process]:
    """The job's process and whatever it started that is alive."""
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _belongs(process, folder):
            yield process


def terminate(folder: Path, pid: int | None) -> None:
    """Ask the job's process group to end."""
    _signal(folder, pid, signal.SIGTERM)


def kill(folder: Path, pid: int | None) -> None:
    """End the job's process group, and what has left the group, at once."""
    _signal(folder, pid, signal.SIGKILL)
    sweep(folder)


def sweep(folder: Path) -> None:
    """End what a dead job's process left behind."""
    for process in members(folder):
        with suppress(psutil.Error):
            process.kill()


def _signal(folder: Path, pid: int | None, number: signal.Signals) -> None:
    leader = pid if pid is not None and _is_leader(pid, folder) else None
    if leader is None:  # its number is not known: the job leads its own session, so look there
        leader = next((p.pid for p in members(folder) if _is_leader(p.pid, folder)), None)
    if leader is not None:
        with suppress(ProcessLookupError):
            os.killpg(leader, number)


def _is_leader(pid: int, folder: Path) -> bool:
    with suppress(ProcessLookupError, psutil.Error):
        return os.getpgid(pid) == pid and _belongs(psutil.Process(pid), folder)
    return False


def _belongs(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == str(folder)
    return False
