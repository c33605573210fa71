"""Every row once, within the budget, in an order that only the seed and the epoch decide."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kajiya.training.batches import IGNORED, Example, collate, drop_from_question, plan_epoch

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=120)
budgets = st.integers(16, 200)


@given(lengths, budgets, st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_an_epoch(sizes: list[int], budget: int, seed: int, epoch: int, packing: bool) -> None:
    plan = plan_epoch(sizes, budget, seed, epoch, packing)
    assert sorted(row for batch in plan for row in batch) == list(range(len(sizes)))
    for batch in plan:
        rows = [sizes[row] for row in batch]
        cost = sum(rows) if packing else len(rows) * max(rows)
        assert cost <= budget or len(rows) == 1
    assert plan == plan_epoch(sizes, budget, seed, epoch, packing)


def test_epochs_and_seeds_differ() -> None:
    sizes = [20] * 50
    plans = [plan_epoch(sizes, 100, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(plans) for b in plans[:i])


def test_rows_of_like_length_are_together() -> None:
    sizes = [10, 50] * 20
    for batch in plan_epoch(sizes, 100, 0, 0):
        assert len({sizes[row] for row in batch}) == 1


@st.composite
def rows(draw: st.DrawFn) -> Example:
    ids = draw(st.lists(st.integers(3, 99), min_size=2, max_size=30))
    first = draw(st.integers(0, len(ids)))
    last = draw(st.integers(first, len(ids)))
    return Example(tuple(ids), tuple(first <= i < last for i in range(len(ids))))


def labelled(example: Example) -> list[tuple[int, int]]:
    """(position, token) of what a row trains; its first token cannot be predicted."""
    return [(i, t) for i, t in enumerate(example.ids) if example.trained[i] and i > 0]


@given(st.lists(rows(), min_size=1, max_size=6))
def test_a_padded_batch_holds_its_rows(examples: list[Example]) -> None:
    batch = collate(examples, pad_id=0)
    assert batch.tokens == sum(map(len, examples))
    assert batch.label_count() == sum(len(labelled(example)) for example in examples)
    for row, example in enumerate(examples):
        n = len(example)
        assert tuple(batch.input_ids[row, :n].tolist()) == example.ids
        assert (batch.input_ids[row, n:] == 0).all() and (batch.labels[row, n:] == IGNORED).all()
        kept = [(i, t) for i, t in enumerate(batch.labels[row].tolist()) if t != IGNORED]
        assert kept == labelled(example)


@given(st.lists(rows(), min_size=1, max_size=6))
def test_a_packed_batch_holds_its_rows(examples: list[Example]) -> None:
    batch = collate(examples, pad_id=0, packing=True)
    assert batch.position_ids is not None
    assert batch.input_ids[0].tolist() == [t for example in examples for t in example.ids]
    assert batch.position_ids[0].tolist() == [i for e in examples for i in range(len(e))]
    assert batch.label_count() == sum(len(labelled(example)) for example in examples)


@given(rows(), st.floats(0, 0.99), st.integers(0, 5), st.integers(0, 99))
def test_only_the_question_loses_tokens(
    example: Example, share: float, fixed: int, seed: int
) -> None:
    dropped = drop_from_question(example, share, random.Random(seed), fixed)
    first = next((i for i, t in enumerate(example.trained) if t), len(example))
    head, tail = example.ids[: min(fixed, first)], example.ids[max(0, first - fixed) :]
    assert dropped.ids[: len(head)] == head
    assert dropped.ids[len(dropped.ids) - len(tail) :] == tail
    assert [t for t, k in zip(dropped.ids, dropped.trained, strict=True) if k] == [
        t for t, k in zip(example.ids, example.trained, strict=True) if k
    ]
    remaining = iter(zip(example.ids, example.trained, strict=True))
    assert all(pair in remaining for pair in zip(dropped.ids, dropped.trained, strict=True))
    assert dropped == drop_from_question(example, share, random.Random(seed), fixed)


def test_about_the_share_is_left_out() -> None:
    question = Example((5,) * 400, (False,) * 399 + (True,))
    kept = [len(drop_from_question(question, 0.5, random.Random(i), 2)) for i in range(200)]
    assert 0.70 < sum(kept) / len(kept) / 400 < 0.80  # a share drawn between 0 and one half
    assert drop_from_question(question, 0.0, random.Random(0), 2) is question
