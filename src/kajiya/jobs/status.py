"""`status.json` and the stop request: what a job's process and those who watch it tell each other.

Only the holder of a job's lock writes the status. Whether it is still true is for `job.py` to find out.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kajiya.core.files import write_json, write_text
from kajiya.core.language import tr

STATUS_FILE = "status.json"
STOP_FILE = "stop.json"
FINISH_FILE = "finish.json"
LOCK_FILE = "lock"
CONFIG_FILE = "config.yaml"
RESULT_FILE = "result.json"
LOG_FILE = "log.txt"
EVENTS_FILE = "events.jsonl"
CHECKPOINTS = "checkpoints"

StopReason = Literal["", "cancel", "terminate"]


class State(StrEnum):
    """`cancelled` was asked for with `cancel`; `stopped` by a signal; `lost` just ceased."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING, State.STOPPING)

    @property
    def label(self) -> str:
        """For people."""
        return {
            State.QUEUED: tr("queued", "開始待ち"),
            State.RUNNING: tr("running", "実行中"),
            State.STOPPING: tr("stopping", "終了処理中"),
            State.SUCCEEDED: tr("succeeded", "成功"),
            State.FAILED: tr("failed", "失敗"),
            State.CANCELLED: tr("cancelled", "取り消し"),
            State.STOPPED: tr("stopped", "中断"),
            State.LOST: tr("lost", "消失"),
        }[self]

    @property
    def resumable(self) -> bool:
        return self.ended and self is not State.SUCCEEDED


class JobFailure(BaseModel):
    """Why a job failed: the fields of `KajiyaError.as_dict()`; for a bug also the traceback's end."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    code: str
    message: str
    where: str = ""
    fix: str = ""
    traceback: str = ""


class Status(BaseModel):
    """The content of `status.json`. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    state: State
    attempt: int = 1
    created: float
    started: float | None = None
    finished: float | None = None
    pid: int | None = None
    process_started: float | None = None
    error: JobFailure | None = None


def read_status(folder: Path) -> Status | None:
    """The status as written; None if it is missing or makes no sense."""
    try:
        return Status.model_validate_json((folder / STATUS_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def write_status(folder: Path, status: Status) -> None:
    """Replace the status in one step."""
    write_text(folder / STATUS_FILE, status.model_dump_json(indent=2) + "\n")


def request_stop(folder: Path) -> None:
    """Ask a job's process to save and end."""
    write_json(folder / STOP_FILE, {"reason": "cancel"})


def stop_requested(folder: Path) -> bool:
    """Whether somebody has asked."""
    return (folder / STOP_FILE).exists()


def request_finish(folder: Path) -> None:
    """Ask a job's process to be content with what it has learnt so far, and to complete the job."""
    write_json(folder / FINISH_FILE, {})


def finish_requested(folder: Path) -> bool:
    """Whether somebody has asked."""
    return (folder / FINISH_FILE).exists()
