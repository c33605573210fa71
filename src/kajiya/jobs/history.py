"""What a job has told so far, kept for those who look again and again: metrics, samples, messages.

Reading a long job's events takes a second, so only what is new since the last look is read.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kajiya.core.events import Event, EventLog, Log, Metric, Sample
from kajiya.jobs.summary import Summary

_PIECE = 4_000_000  # bytes of events taken in at a time
_LOGS = 500
_SAMPLES = 400
_KEPT_JOBS = 8  # a long one takes some 10 MB


@dataclass
class Series:
    """One metric: `values[i]` was measured at `steps[i]`, which rise."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        """Add a point; one that a resumed job measures again replaces the old ones from there on."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(value)

    def thinned(
        self, most: int, first: float = -math.inf, last: float = math.inf
    ) -> tuple[list[float], list[float]]:
        """At most `most` of the points from step `first` to `last`.

        Of each stretch the lowest and the highest are kept, so that no peak disappears.
        """
        chosen = [i for i, step in enumerate(self.steps) if first <= step <= last]
        if len(chosen) > most:
            chosen = _extremes(chosen, self.values, max(1, most // 2))
        return [self.steps[i] for i in chosen], [self.values[i] for i in chosen]


def _extremes(indices: list[int], values: Sequence[float], stretches: int) -> list[int]:
    kept: list[int] = []
    for number in range(stretches):
        start, end = (len(indices) * n // stretches for n in (number, number + 1))
        part = indices[start:end]
        # What is not a number is not comparable, but has to be seen.
        odd = next((i for i in part if not math.isfinite(values[i])), None)
        low = min(part, key=values.__getitem__)
        high = max(part, key=values.__getitem__) if odd is None else odd
        kept += sorted({low, high})
    return kept


class History:
    """The events of one job up to byte `position` of its file."""

    def __init__(self) -> None:
        self.position = 0
        self.summary = Summary()
        self.series: dict[str, Series] = {}
        self.samples: deque[Sample] = deque(maxlen=_SAMPLES)
        self.logs: deque[Log] = deque(maxlen=_LOGS)
        self.lock = threading.Lock()

    def catch_up(self, log: EventLog) -> None:
        """Take in what has been written since."""
        while True:
            events, position = log.read(self.position, _PIECE)
            for event in events:
                self._add(event)
            if position == self.position:
                return
            self.position = position

    def _add(self, event: Event) -> None:
        self.summary.add(event)
        if isinstance(event, Metric):
            for name, value in event.values.items():
                self.series.setdefault(name, Series()).add(event.step, value)
        elif isinstance(event, Sample):
            again = [
                kept for kept in self.samples if kept.step < event.step or _beside(kept, event)
            ]
            self.samples = deque([*again, event], maxlen=_SAMPLES)
        elif isinstance(event, Log):
            self.logs.append(event)


def _beside(kept: Sample, new: Sample) -> bool:
    """Whether both belong to one round of questions; a resumed job asks a step's questions again."""
    return kept.step == new.step and kept.question != new.question


class Histories:
    """Those of the jobs looked at last. Safe between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, History] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, log: EventLog) -> History:
        """The history of a job as it is now; hold its `lock` while reading it."""
        with self._lock:
            history = self._kept.pop(log.path, None) or History()
            self._kept[log.path] = history
            while len(self._kept) > _KEPT_JOBS:
                self._kept.popitem(last=False)
        with history.lock:
            history.catch_up(log)
        return history
