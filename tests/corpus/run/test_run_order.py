"""From documents to training windows: whatever their lengths and copies, each window says what it holds."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.run.order import cut, shuffled
from kajiya.corpus.shard_set import ShardSet
from kajiya.corpus.shards import write_shard
from kajiya.corpus.streaming import StreamingReader

DOCUMENTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=12)


def document(number: int, length: int) -> list[int]:
    """Its tokens: every one of a corpus's differs."""
    return [1000 * number + place for place in range(length)]


@settings(deadline=None, max_examples=40)  # each writes shards to the disk
@given(DOCUMENTS, st.integers(2, 50), st.integers(1, 9), st.integers(0, 5))
def test_every_window_is_what_it_says_and_every_token_is_trained_on(
    documents: list[tuple[int, int]], most: int, context: int, seed: int
) -> None:
    lengths = np.array([length for length, _ in documents])
    copies = np.array([number for _, number in documents])
    texts = [document(number, length) for number, length in enumerate(lengths.tolist())]
    cuts = cut("tokens", shuffled(copies, seed), lengths, most)
    with tempfile.TemporaryDirectory() as name:
        for each in cuts:
            assert each.sequences[:, 2].sum() <= most, "no shard is larger than wanted"
            rows = [texts[d][at : at + size] for d, at, size in each.sequences.tolist()]
            write_shard(Path(name, each.name), rows, 1 << 20, each.sequences[:, :2])
        shards = ShardSet.open(Path(name), "tokens-*")
        assert sorted(
            np.concatenate([np.zeros(0, int), *map(shards.__getitem__, range(len(shards)))])
        ) == sorted(
            token for text, number in zip(texts, copies, strict=True) for token in text * number
        )
        if shards.tokens <= context:
            return
        reader = StreamingReader(shards, context, seed=seed)
        for sample in islice(reader, reader.windows(0)):
            told = [
                token
                for span in sample.spans
                for token in texts[span.document][span.offset : span.offset + span.length]
            ]
            assert told == sample.tokens.tolist()


@given(DOCUMENTS, st.integers(2, 50), st.integers(0, 5))
def test_a_document_lies_in_a_row_and_in_its_order(
    documents: list[tuple[int, int]], most: int, seed: int
) -> None:
    """The parts of a long one follow each other, also from shard to shard, and the order is the seed's."""
    lengths = np.array([length for length, _ in documents])
    copies = np.array([number for _, number in documents])
    order = shuffled(copies, seed)
    assert order.tolist() == shuffled(copies, seed).tolist()
    sequences = [row for each in cut("x", order, lengths, most) for row in each.sequences.tolist()]
    laid: list[tuple[int, int]] = []
    for number, offset, size in sequences:
        if offset == 0:
            laid.append((number, 0))
        assert laid[-1] == (number, offset)
        laid[-1] = (number, offset + size)
    assert laid == [(number, int(lengths[number])) for number in order.tolist()]
