"""Reading training sequences: shuffled, shared, resumed, and traced to their documents."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.permutation import Permutation
from kajiya.corpus.shard_set import ShardSet
from kajiya.corpus.shards import Shard, write_shard
from kajiya.corpus.streaming import Sample, StreamingReader

LENGTHS = st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=4)


def shards_of(lengths: list[list[int]]) -> ShardSet:
    """Shards whose token says where it is from: document * 100 + offset; documents count down."""
    number = sum(len(shard) for shard in lengths)
    made = []
    for shard in lengths:
        documents = np.array([[number - i - 1, 7 * i] for i in range(len(shard))], np.int64)
        number -= len(shard)
        tokens = [
            np.arange(length) + document * 1000 + offset
            for (document, offset), length in zip(documents, shard, strict=True)
        ]
        row = np.concatenate([np.zeros(0, np.int64), *tokens])
        made.append(Shard(row, np.array(shard, np.int32), documents.reshape(-1, 2)))
    return ShardSet(made)


def take(reader: StreamingReader, number: int) -> list[Sample]:
    return list(islice(reader, number))


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 5), st.integers(0, 5))
def test_every_number_has_one_place(size: int, seed: int, turn: int) -> None:
    order = Permutation(size, seed, turn)
    assert sorted(order[i] for i in range(size)) == list(range(size))


def test_the_order_is_shuffled_and_differs_by_seed_and_epoch() -> None:
    orders = [
        [Permutation(1000, s, t)[i] for i in range(1000)] for s, t in ((0, 0), (0, 1), (1, 0))
    ]
    for order in orders:
        assert sum(a == b for a, b in enumerate(order)) < 20
        assert abs(np.corrcoef(np.arange(1000), order)[0, 1]) < 0.15
    assert sum(a == b for a, b in zip(orders[0], orders[1], strict=True)) < 20
    with pytest.raises(IndexError):
        Permutation(10, 0)[10]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 12), st.integers(1, 5), st.integers(0, 3))
def test_workers_share_each_epoch(
    lengths: list[list[int]], context: int, workers: int, seed: int
) -> None:
    shards = shards_of(lengths)
    if shards.tokens <= context:
        with pytest.raises(DataError):
            StreamingReader(shards, context)
        return
    readers = [
        StreamingReader(shards, context, seed=seed, worker=w, workers=workers)
        for w in range(workers)
    ]
    counts = [readers[0].windows(epoch) for epoch in range(3)]
    rounds = -(-sum(counts) // workers)
    samples = [sample for reader in readers for sample in take(reader, rounds)]
    for epoch, count in enumerate(counts):
        windows = sorted(sample.window for sample in samples if sample.epoch == epoch)
        assert windows == list(range(count)), "each window once, by one worker"
    assert len({json.dumps(reader.state()) for reader in readers}) == 1


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 12), st.integers(0, 3))
def test_every_sequence_maps_back_to_its_documents(
    lengths: list[list[int]], context: int, seed: int
) -> None:
    shards = shards_of(lengths)
    if shards.tokens <= context:
        return
    reader = StreamingReader(shards, context, seed=seed)
    for sample in take(reader, reader.windows(0) + 2):
        assert len(sample.tokens) == context + 1
        told = [
            span.document * 1000 + span.offset + i
            for span in sample.spans
            for i in range(span.length)
        ]
        assert told == sample.tokens.tolist()


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.integers(1, 8), st.integers(0, 40), st.integers(1, 4), st.integers(1, 4))
def test_goes_on_anywhere_also_with_other_workers(
    lengths: list[list[int]], context: int, before: int, workers: int, later: int
) -> None:
    shards = shards_of(lengths)
    if shards.tokens <= context:
        return

    def readers(number: int) -> list[StreamingReader]:
        return [
            StreamingReader(shards, context, seed=1, worker=w, workers=number)
            for w in range(number)
        ]

    whole = take(StreamingReader(shards, context, seed=1), (before + 10) * workers * later)
    first = readers(workers)
    for reader in first:
        take(reader, before)
    state = json.loads(json.dumps(first[0].state()))
    resumed = readers(later)
    for reader in resumed:
        reader.restore(state)
    given_later = [take(reader, 5) for reader in resumed]
    expected = whole[before * workers : before * workers + 5 * later]
    found = [given_later[i % later][i // later] for i in range(5 * later)]
    assert [(s.epoch, s.window, s.spans) for s in found] == [
        (s.epoch, s.window, s.spans) for s in expected
    ]


def test_a_state_of_something_else_is_refused() -> None:
    reader = StreamingReader(shards_of([[20, 30]]), 4)
    state = reader.state()
    for wrong in ({}, state | {"turn": -1}, state | {"epoch": "0"}, state | {"of": {}}):
        with pytest.raises(ConfigError):
            reader.restore(wrong)
    with pytest.raises(ConfigError):
        StreamingReader(shards_of([[20, 30]]), 5).restore(state)
    with pytest.raises(ConfigError):
        StreamingReader(shards_of([[20]]), 4, worker=2, workers=2)


def test_shards_of_a_folder_are_one_row(tmp_path: Path) -> None:
    for number, rows in enumerate(([[1, 2, 3], [4]], [[5, 6]])):
        write_shard(tmp_path / f"tokens-{number:05}", rows, 100)
    shards = ShardSet.open(tmp_path, "tokens-*")
    assert (len(shards), shards.tokens) == (3, 6)
    assert [shards[i].tolist() for i in range(3)] == [[1, 2, 3], [4], [5, 6]]
    tokens, spans = shards.read(2, 5)
    assert tokens.tolist() == [3, 4, 5]
    assert [(s.document, s.offset, s.length) for s in spans] == [(0, 2, 1), (1, 0, 1), (0, 0, 1)]
