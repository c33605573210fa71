"""The labelled cases of personal data, and how well finders do on them.

A finding is right if it is of the labelled kind and shares at least 80 % of its characters with the label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kajiya.corpus.personal.finding import Finding

_FILE = Path(__file__).parents[1] / "corpus" / "personal" / "labelled.jsonl"
_SHARED = 0.8


@dataclass(frozen=True)
class Case:
    """A text and the personal data in it. Finders were tuned on those that are not `held_out`."""

    text: str
    held_out: bool
    labels: tuple[Finding, ...]


@dataclass(frozen=True)
class Score:
    """Of one kind: labels found, findings that are wrong, labels missed."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


def cases() -> list[Case]:
    """All labelled cases."""
    found = []
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        labels = tuple(Finding(*span) for span in row["spans"])
        found.append(Case(row["text"], row["half"] == "held-out", labels))
    return found


def score(finder: Callable[[str], list[Finding]], over: Iterable[Case]) -> dict[str, Score]:
    """The scores by kind."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for case in over:
        left = finder(case.text)
        for label in case.labels:
            match = next((finding for finding in left if _same(finding, label)), None)
            if match:
                left.remove(match)
            (right if match else missed)[label.kind] += 1
        wrong.update(finding.kind for finding in left)
    kinds = sorted({*right, *wrong, *missed})
    return {kind: Score(right[kind], wrong[kind], missed[kind]) for kind in kinds}


def _same(finding: Finding, label: Finding) -> bool:
    shared = min(finding.end, label.end) - max(finding.start, label.start)
    whole = max(finding.end, label.end) - min(finding.start, label.start)
    return finding.kind == label.kind and shared >= _SHARED * whole
