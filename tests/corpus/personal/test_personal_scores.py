"""Precision and recall of personal data by kind, on the half of the labelled cases that nothing was tuned on.

`pytest -s` prints the table that docs/corpus-cleaning.md shows.
"""

from __future__ import annotations

import pytest

from kajiya.corpus.personal.find import find_personal
from kajiya.corpus.personal.finding import KINDS
from support.personal_cases import cases, score

FLOOR = dict.fromkeys(KINDS, (0.85, 0.8))  # precision, recall


def test_the_cases_are_many_and_half_of_them_hold_nothing() -> None:
    every = cases()
    assert len(every) >= 300
    assert len({case.text for case in every}) == len(every)
    empty = sum(not case.labels for case in every)
    assert 0.4 < empty / len(every) < 0.6
    assert {label.kind for case in every if case.held_out for label in case.labels} == set(KINDS)


@pytest.mark.parametrize("held_out", [False, True])
def test_precision_and_recall_by_kind(held_out: bool) -> None:
    scores = score(find_personal, (case for case in cases() if case.held_out == held_out))
    for kind in KINDS:
        found = scores[kind]
        print(
            f"{kind}: precision {found.precision:.2f}, recall {found.recall:.2f}"
            f" (right {found.right}, wrong {found.wrong}, missed {found.missed})"
        )
    for kind, (precision, recall) in FLOOR.items():
        assert scores[kind].precision >= precision, kind
        assert scores[kind].recall >= recall, kind
