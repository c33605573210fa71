"""A job as it is now, worked out from its folder and its lock; nothing is remembered between looks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from kajiya.core.errors import KajiyaError, NotFoundError
from kajiya.core.events import EventLog
from kajiya.core.language import tr
from kajiya.core.locks import is_locked
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import (
    CONFIG_FILE,
    EVENTS_FILE,
    LOCK_FILE,
    LOG_FILE,
    RESULT_FILE,
    STATUS_FILE,
    JobFailure,
    State,
    Status,
    read_status,
    stop_requested,
)

_TAIL_BYTES = 4096
_TAIL_LINES = 15


@dataclass(frozen=True)
class Job:
    """One look at a job. `spec` is None if `config.yaml` is damaged; times are seconds since 1970."""

    folder: Path
    spec: JobSpec | None
    state: State
    attempt: int
    created: float
    started: float | None
    finished: float | None
    pid: int | None
    error: JobFailure | None

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def ended(self) -> bool:
        return self.state.ended

    @property
    def events(self) -> EventLog:
        return EventLog(self.folder / EVENTS_FILE)

    @property
    def log_file(self) -> Path:
        """What the job's process printed."""
        return self.folder / LOG_FILE

    @property
    def heartbeat(self) -> float | None:
        """When the job's process last showed that it was alive."""
        try:
            return (self.folder / STATUS_FILE).stat().st_mtime
        except FileNotFoundError:
            return None

    @property
    def result(self) -> dict[str, Any] | None:
        """What the work returned; None before it has succeeded."""
        if self.state is not State.SUCCEEDED:
            return None
        result: dict[str, Any] = json.loads((self.folder / RESULT_FILE).read_bytes())
        return result


def read_job(folder: Path) -> Job:
    """Look at the job in `folder`; raises `NotFoundError` if it was removed."""
    try:
        made = folder.stat().st_ctime
    except FileNotFoundError:
        raise NotFoundError(
            tr(f"there is no job {folder.name}", f"ジョブ {folder.name} はありません"),
            where=folder.name,
        ) from None
    alive, status = _look(folder)
    state, error = _state(folder, alive, status)
    try:
        file = folder / CONFIG_FILE
        spec = _spec(file, file.stat().st_mtime_ns)
    except (KajiyaError, OSError):
        spec = None
    return Job(
        folder=folder,
        spec=spec,
        state=state,
        attempt=status.attempt if status else 1,
        created=status.created if status else made,
        started=status.started if status else None,
        finished=status.finished if status else None,
        pid=status.pid if status and alive else None,
        error=error,
    )


@lru_cache(maxsize=2000)  # a list of hundreds of jobs is looked at again and again
def _spec(file: Path, _changed: int) -> JobSpec:
    return JobSpec.load(file)


def _look(folder: Path) -> tuple[bool, Status | None]:
    """The lock and the status of one moment, as far as they matter together.

    The lock is looked at first: a process writes its last status before it lets go, so an unfinished
    status without a lock is a dead job's, unless the job was resumed between the two looks.
    """
    while True:
        alive = is_locked(folder / LOCK_FILE)
        status = read_status(folder)
        if alive or (status and status.state.ended):
            return alive, status
        if not is_locked(folder / LOCK_FILE) and read_status(folder) == status:
            return False, status


def _state(folder: Path, alive: bool, status: Status | None) -> tuple[State, JobFailure | None]:
    if status is not None and status.state.ended:
        return status.state, status.error
    if alive:
        if stop_requested(folder):
            return State.STOPPING, None
        return (status.state if status else State.RUNNING), None
    if status is not None and stop_requested(folder):
        return State.CANCELLED, None  # it was asked to end and did, if not by itself
    return State.LOST, JobFailure(
        code="lost",
        message=tr("its process ended without a word", "プロセスが突然終了しました")
        if status
        else tr("its status cannot be read", "状態ファイルを読めません"),
        where=str(folder / LOG_FILE),
        fix=f"kajiya jobs resume {folder.name}",
        traceback=log_tail(folder / LOG_FILE),
    )


def log_tail(path: Path) -> str:
    """The last lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
