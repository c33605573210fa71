from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kajiya.core.errors import DataError
from kajiya.corpus.shards import Shard
from kajiya.training.batches import IGNORED
from kajiya.training.pretrain_windows import Windows


def shard_of(lengths: list[int]) -> Shard:
    """Documents of a 0 and then numbers that occur once."""
    ids = np.arange(1, sum(lengths) + 1, dtype=np.uint16)
    ids[np.concatenate([[0], np.cumsum(lengths)])[:-1]] = 0
    return Shard(ids, np.array(lengths, np.int32))


LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=12).filter(lambda x: sum(x) > 8)


@given(LENGTHS, st.integers(1, 12))
def test_in_order_every_token_is_predicted_once(lengths: list[int], context: int) -> None:
    shard = shard_of(lengths)
    windows = Windows(shard, range(len(lengths)), context)
    rows = windows.rows(0, windows.count)
    targets = rows.targets[rows.targets != IGNORED]
    assert targets.tolist() == shard.tokens[1:].tolist()
    known = rows.targets != IGNORED
    assert rows.inputs[known].tolist() == shard.tokens[:-1].tolist()


@given(LENGTHS, st.integers(1, 8), st.integers(0, 5))
def test_positions_restart_at_documents_and_rows(
    lengths: list[int], context: int, seed: int
) -> None:
    windows = Windows(shard_of(lengths), range(len(lengths)), context, seed)
    rows = windows.rows(0, windows.count)
    starts = rows.inputs == 0
    starts[:, 0] = True
    assert torch.equal(rows.positions == 0, starts)
    steps = rows.positions[:, 1:] - rows.positions[:, :-1]
    assert bool((steps[~starts[:, 1:]] == 1).all())


@given(LENGTHS, st.integers(1, 8))
def test_a_shuffled_epoch_has_each_token_at_most_once(lengths: list[int], context: int) -> None:
    windows = Windows(shard_of(lengths), range(len(lengths)), context, seed=3)
    for epoch in range(2):
        rows = windows.rows(epoch * windows.count, windows.count)
        seen = Counter(rows.inputs[rows.inputs > 0].tolist())
        assert not seen or max(seen.values()) == 1
        assert rows.inputs.numel() == windows.count * context


def test_any_row_can_be_had_at_any_time() -> None:
    shard = shard_of([5, 17, 40, 9, 30])
    windows = Windows(shard, range(5), 8, seed=1)
    whole = windows.rows(0, 3 * windows.count)
    fresh = Windows(shard, range(5), 8, seed=1)
    for first in (2 * windows.count + 1, 0, windows.count - 1):
        part = fresh.rows(first, 2)
        assert torch.equal(part.inputs, whole.inputs[first : first + 2])
        assert torch.equal(part.targets, whole.targets[first : first + 2])


def test_order_changes_with_epoch_and_seed() -> None:
    shard = shard_of([5, 17, 40, 9, 30])
    one = Windows(shard, range(5), 4, seed=1)
    first, second = one.rows(0, one.count), one.rows(one.count, one.count)
    other = Windows(shard, range(5), 4, seed=2).rows(0, one.count)
    assert not torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.inputs, other.inputs)


def test_only_the_documents_that_were_chosen() -> None:
    shard = shard_of([5, 17, 40])
    rows = Windows(shard, [0, 2], 4, seed=1).rows(0, 11)
    middle = set(shard[1].tolist()) - {0}
    assert middle.isdisjoint(rows.inputs.flatten().tolist())


def test_parts_together_are_the_whole() -> None:
    rows = Windows(shard_of([50]), [0], 4).rows(0, 5)
    parts = rows.split(2)
    assert torch.equal(torch.cat([part.targets for part in parts]), rows.targets)


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fewer than a row"):
        Windows(shard_of([5]), [0], 8, seed=0)


@given(LENGTHS, st.integers(1, 8), st.integers(0, 3))
def test_every_window_maps_back_to_its_documents(
    lengths: list[int], context: int, seed: int
) -> None:
    shard = shard_of(lengths)
    windows = Windows(shard, range(len(lengths)), context, seed)
    rows = windows.rows(0, windows.count)
    for row, spans in enumerate(windows.spans(0, windows.count)):
        told = [
            shard[span.document][span.offset : span.offset + span.length].tolist() for span in spans
        ]
        assert list(chain(*told))[:context] == rows.inputs[row].tolist()
