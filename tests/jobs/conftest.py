from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kajiya.core.workspace import Workspace
from kajiya.jobs import processes
from kajiya.jobs.supervisor import Supervisor

HERE = Path(__file__).parent
NAMES = ("count", "stubborn", "deaf", "wrong_data", "bug", "no_json", "forks", "environment")
KINDS = {name.replace("_", "-"): f"job_entries:{name}" for name in NAMES} | {
    "not-there": "job_entries:nothing"
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("KAJIYA_LANG", "en")
    return Workspace(tmp_path / "home")


@pytest.fixture
def supervisor(workspace: Workspace) -> Iterator[Supervisor]:
    supervisor = Supervisor(workspace, KINDS)
    yield supervisor
    for job in supervisor.list():
        for process in processes.members(job.folder):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that will happen; the limit is only against waiting for ever."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[[Callable[[], bool]], None]:
    return eventually
