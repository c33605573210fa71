"""Where a job stands, read off its events: what a page or a table shows without replaying them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kajiya.core.events import ArtifactMade, Event, Failure, Metric, Progress


@dataclass
class Summary:
    """The newest of everything: `stages` in the order they began, `metrics` by name."""

    stages: dict[str, Progress] = field(default_factory=dict)
    step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: list[ArtifactMade] = field(default_factory=list)
    failure: Failure | None = None

    def add(self, event: Event) -> None:
        """Take one more event into account."""
        if isinstance(event, Progress):
            self.stages[event.stage] = event
        elif isinstance(event, Metric):
            self.step = event.step
            self.metrics.update(event.values)
        elif isinstance(event, ArtifactMade):
            self.artifacts.append(event)
        elif isinstance(event, Failure):
            self.failure = event


def summarise(events: Iterable[Event]) -> Summary:
    """The state of a job after these events."""
    summary = Summary()
    for event in events:
        summary.add(event)
    return summary
