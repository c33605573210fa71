from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

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
