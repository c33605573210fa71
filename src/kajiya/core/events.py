"""One schema for everything a running job tells: JSON lines, appended, never rewritten.

A job writes `events.jsonl`; terminals, pages and tests read the same lines, from any position, while
it is being written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Event(BaseModel):
    # A loss that has become NaN is told as NaN: as null it could not be read back.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")
    time: float = Field(default_factory=time.time, description="seconds since 1970")


class Progress(_Event):
    """How far a stage is. `total` is 0 where it is not known."""

    type: Literal["progress"] = "progress"
    stage: str
    done: float
    total: float = 0
    unit: str = ""
    remaining_seconds: float | None = None


class Metric(_Event):
    """Numbers measured at a step: `{"loss": 1.2, "tokens_per_second": 310.0}`."""

    type: Literal["metric"] = "metric"
    step: int
    values: dict[str, float]


class Log(_Event):
    """A line for people."""

    type: Literal["log"] = "log"
    level: Literal["info", "warning", "error"] = "info"
    message: str


class Sample(_Event):
    """What the model being trained answers to one of a few fixed questions, to see what it has learnt."""

    type: Literal["sample"] = "sample"
    step: int
    question: str
    answer: str
    expected: str = ""


class ArtifactMade(_Event):
    """Something was registered: `reference` is `name:version`."""

    type: Literal["artifact"] = "artifact"
    kind: str
    reference: str
    detail: dict[str, Any] = {}


class Failure(_Event):
    """Why the job ended: the fields of `KajiyaError.as_dict()`."""

    type: Literal["error"] = "error"
    code: str
    message: str
    where: str = ""
    fix: str = ""


Event = Annotated[
    Progress | Metric | Log | Sample | ArtifactMade | Failure, Field(discriminator="type")
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


class EventLog:
    """The events of one job, kept in a file.

    One process appends (each event is a single `write`, so a killed writer leaves at most one torn
    line, which readers pass over); any number of processes read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: Event) -> None:
        """Add one event; readers see it at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = event.model_dump_json() + "\n"
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (("\n" if torn else "") + line).encode("utf-8"))
        finally:
            os.close(descriptor)

    def read(self, position: int = 0, most: int | None = None) -> tuple[list[Event], int]:
        """Events from byte `position` on, and the position to ask for next time.

        With `most`, only about so many bytes of them.
        """
        return read_lines(self.path, position, most)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.read()[0])


def read_lines(path: Path, position: int = 0, most: int | None = None) -> tuple[list[Event], int]:
    """Whole lines of an event file from byte `position`; an unfinished last line waits."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read() if most is None else file.read(most) + file.readline()
    except FileNotFoundError:
        return [], position
    end = data.rfind(b"\n") + 1
    events: list[Event] = []
    for line in data[:end].splitlines():
        try:
            events.append(_ADAPTER.validate_json(line))
        except ValidationError:
            continue  # torn by a kill, or written by a newer version
    return events, position + end
