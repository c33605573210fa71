"""A job as the work inside it sees it: what to do, where to write, whom to tell, when to stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kajiya.core.events import ArtifactMade, EventLog, Log, Metric, Progress, Sample
from kajiya.core.workspace import Workspace
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import (
    CHECKPOINTS,
    EVENTS_FILE,
    StopReason,
    finish_requested,
    stop_requested,
)


class JobStopped(Exception):  # noqa: N818 (it is no error: the work did what it was asked)
    """Raised by the work when it has saved and ends early because `should_stop` said so."""


@dataclass
class Signals:
    """What signals have told the job's process."""

    terminate: bool = False


@dataclass(frozen=True)
class RunningJob:
    """Handed to the function of the job's kind, in the job's own process.

    `attempt` counts from 1; from 2 on, the work continues from what it finds in `checkpoints`.
    """

    folder: Path
    spec: JobSpec
    attempt: int
    workspace: Workspace
    signals: Signals = field(default_factory=Signals)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def checkpoints(self) -> Path:
        """A folder that survives from attempt to attempt."""
        return self.folder / CHECKPOINTS

    @property
    def events(self) -> EventLog:
        return EventLog(self.folder / EVENTS_FILE)

    @property
    def stop_reason(self) -> StopReason:
        """Why to stop: `cancel` (asked for), `terminate` (a signal), or empty."""
        if stop_requested(self.folder):
            return "cancel"
        return "terminate" if self.signals.terminate else ""

    def should_stop(self) -> bool:
        """Whether to save and raise `JobStopped`; cheap enough to ask at every step."""
        return self.stop_reason != ""

    def should_finish(self) -> bool:
        """Whether to take what has been learnt so far for the result and go on to the next stage."""
        return finish_requested(self.folder)

    def log(self, message: str, level: Literal["info", "warning", "error"] = "info") -> None:
        """A line for people, in the events and in the log."""
        self.events.append(Log(message=message, level=level))
        print(message, flush=True)

    def progress(
        self,
        stage: str,
        done: float,
        total: float = 0,
        *,
        unit: str = "",
        remaining_seconds: float | None = None,
    ) -> None:
        """How far a stage is; `total` 0 if that is not known."""
        self.events.append(
            Progress(
                stage=stage, done=done, total=total, unit=unit, remaining_seconds=remaining_seconds
            )
        )

    def metric(self, step: int, **values: float) -> None:
        """Numbers measured at a step: `metric(10, loss=1.2, tokens_per_second=310)`."""
        self.events.append(Metric(step=step, values=values))

    def sample(self, step: int, question: str, answer: str, expected: str = "") -> None:
        """What the model being trained answers at this step."""
        self.events.append(Sample(step=step, question=question, answer=answer, expected=expected))

    def artifact(self, kind: str, reference: str, **detail: Any) -> None:
        """Tell that something was registered."""
        self.events.append(ArtifactMade(kind=kind, reference=reference, detail=detail))
