from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core.errors import FormatError
from kajiya.corpus.shards import Shard, write_shard

DOCUMENTS = [[0, 5, 65_535], [0], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("vocab_size", "bytes_a_token"), [(65_536, 2), (65_537, 4)])
def test_round_trip(tmp_path: Path, vocab_size: int, bytes_a_token: int) -> None:
    assert write_shard(tmp_path / "t", DOCUMENTS, vocab_size) == 9
    assert (tmp_path / "t.bin").stat().st_size == 9 * bytes_a_token
    shard = Shard.open(tmp_path / "t")
    assert [shard[i].tolist() for i in range(len(shard))] == DOCUMENTS


def test_the_index_is_megatrons(tmp_path: Path) -> None:
    """Field by field: magic, version, type code, counts, lengths, byte offsets, document bounds."""
    write_shard(tmp_path / "t", DOCUMENTS, 65_536)
    raw = (tmp_path / "t.idx").read_bytes()
    assert raw[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack("<QBQQ", raw[9:34]) == (1, 8, 3, 4)
    assert np.frombuffer(raw, np.int32, 3, 34).tolist() == [3, 1, 5]
    assert np.frombuffer(raw, np.int64, 3, 46).tolist() == [0, 6, 8]
    assert np.frombuffer(raw, np.int64, 4, 70).tolist() == [0, 1, 2, 3]
    assert len(raw) == 102


@pytest.mark.parametrize("damage", ["missing", "magic", "truncated", "other"])
def test_damaged_shards_are_refused(tmp_path: Path, damage: str) -> None:
    write_shard(tmp_path / "t", DOCUMENTS, 65_536)
    index = tmp_path / "t.idx"
    raw = index.read_bytes()
    if damage == "missing":
        index.unlink()
    elif damage == "magic":
        index.write_bytes(b"X" + raw[1:])
    elif damage == "truncated":
        index.write_bytes(raw[:40])
    else:
        (tmp_path / "t.bin").write_bytes(b"\0\0")
    with pytest.raises(FormatError):
        Shard.open(tmp_path / "t")


def test_the_third_array_says_which_document_a_sequence_is(tmp_path: Path) -> None:
    """A document in two sequences is one document in Megatron's index, too."""
    third = np.array([[7, 0], [7, 3], [2, 0]], np.int64)
    write_shard(tmp_path / "t", DOCUMENTS, 65_536, third)
    raw = (tmp_path / "t.idx").read_bytes()
    assert struct.unpack("<QQ", raw[18:34]) == (3, 3)
    assert np.frombuffer(raw, np.int64, 3, 70).tolist() == [0, 2, 3]
    assert len(raw) == 94
    assert np.load(tmp_path / "t.docs.npy").tolist() == third.tolist()
    assert Shard.open(tmp_path / "t").documents.tolist() == third.tolist()


def test_without_it_sequences_are_documents_in_order(tmp_path: Path) -> None:
    write_shard(tmp_path / "t", DOCUMENTS, 65_536)
    assert Shard.open(tmp_path / "t").documents.tolist() == [[0, 0], [1, 0], [2, 0]]


@pytest.mark.parametrize("damage", ["shape", "pickle"])
def test_a_third_array_that_does_not_belong_is_refused(tmp_path: Path, damage: str) -> None:
    write_shard(tmp_path / "t", DOCUMENTS, 65_536)
    wrong = np.zeros((2, 2), np.int64) if damage == "shape" else np.array([{}, {}, {}])
    np.save(tmp_path / "t.docs.npy", wrong, allow_pickle=True)
    with pytest.raises(FormatError):
        Shard.open(tmp_path / "t")


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 70_000), max_size=9), max_size=8),
    st.sampled_from([50_000, 65_536, 65_537, 200_000]),
)
def test_a_reader_of_the_published_layout_finds_every_sequence(
    rows: list[list[int]], vocab_size: int
) -> None:
    """Read as the specification says, by offsets alone: header, lengths, pointers, bounds, tokens."""
    rows = [[token % vocab_size for token in row] for row in rows]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "t"
        write_shard(path, rows, vocab_size)
        index, tokens = path.with_suffix(".idx").read_bytes(), path.with_suffix(".bin").read_bytes()
        opened = Shard.open(path)
        assert [opened[i].tolist() for i in range(len(opened))] == rows
    magic, version, code, sequences, bounds = struct.unpack_from("<9sQBQQ", index)
    width, letter = {8: (2, "H"), 4: (4, "i")}[code]
    assert (magic, version, sequences, bounds) == (b"MMIDIDX\0\0", 1, len(rows), len(rows) + 1)
    lengths = struct.unpack_from(f"<{sequences}i", index, 34)
    pointers = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
    limits = struct.unpack_from(f"<{bounds}q", index, 34 + 12 * sequences)
    assert len(index) == 34 + 12 * sequences + 8 * bounds
    assert list(limits) == list(range(bounds))
    for row, length, pointer in zip(rows, lengths, pointers, strict=True):
        assert list(struct.unpack_from(f"<{length}{letter}", tokens, pointer)) == row
    assert len(tokens) == width * sum(lengths)
