"""GGUF files that are cut, damaged or meant to do harm are refused, soon and in little memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kajiya.core.errors import FormatError
from kajiya.models.formats.gguf_reader import import_gguf, open_gguf

HUGE = 1 << 60


@pytest.fixture(scope="session")
def sound(family_folder: Callable[[str], Path]) -> Path:
    return family_folder("gemma3") / "model.gguf"


def refused(data: bytes, path: Path) -> str:
    path.write_bytes(data)
    with pytest.raises(FormatError, match="not a complete GGUF file") as caught:
        open_gguf(path)
    assert caught.value.where == str(path)
    return caught.value.message


def sections(path: Path) -> list[int]:
    """Where the parts of the file begin: the header's numbers, every field, every tensor."""
    reader = GGUFReader(path)
    edges = {0, 4, 8, 16, 24}
    edges |= {field.offset + extra for field in reader.fields.values() for extra in (0, 5, 12)}
    edges |= {int(tensor.field.offset) + extra for tensor in reader.tensors for extra in (0, 9)}
    edges |= {int(tensor.data_offset) for tensor in reader.tensors}
    return sorted(edges)


def test_cut_at_every_section(sound: Path, tmp_path: Path) -> None:
    edges = sections(sound)
    assert len(edges) > 200
    path = tmp_path / "cut.gguf"
    shutil.copyfile(sound, path)
    open_gguf(path)
    for edge in [path.stat().st_size - 100, *reversed(edges)]:
        os.truncate(path, edge)
        with pytest.raises(FormatError, match="not a complete GGUF file"):
            open_gguf(path)


def header(tensors: int = 0, fields: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, fields)


def field(name: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


def array(kind: int, count: int) -> bytes:
    return struct.pack("<IQ", kind, count)


TENSOR = struct.pack("<Q", 1) + b"t"
HOSTILE = {
    "empty": b"",
    "short": b"GG",
    "other magic": header(magic=b"GGML"),
    "version 1": header(version=1) + b"\0" * 64,
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "tensors": header(tensors=HUGE) + b"\0" * 1000,
    "tensors overflowing": header(tensors=(1 << 64) - 1) + b"\0" * 1000,
    "fields": header(fields=HUGE) + b"\0" * 1000,
    "name": header(fields=1) + struct.pack("<Q", HUGE) + b"\0" * 1000,
    "value type": header(fields=1) + field("a", 77, b"\0" * 100),
    "string": header(fields=1) + field("a", 8, struct.pack("<Q", HUGE) + b"\0" * 100),
    "tokens": header(fields=1) + field("a", 9, array(8, HUGE) + b"\0" * 100),
    "bytes": header(fields=1) + field("a", 9, array(0, HUGE) + b"\0" * 100),
    "floats": header(fields=1) + field("a", 9, array(6, HUGE) + b"\0" * 100),
    "arrays of arrays": header(fields=1) + field("a", 9, array(9, 1) * 5000 + b"\0" * 100),
    "array type": header(fields=1) + field("a", 9, array(99, 1) + b"\0" * 100),
    "no dimensions": header(tensors=1) + TENSOR + struct.pack("<I", 0) + b"\0" * 100,
    "dimensions": header(tensors=1) + TENSOR + struct.pack("<I", 1 << 31) + b"\0" * 100,
    "elements": header(tensors=1) + TENSOR + struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0),
    "tensor type": header(tensors=1) + TENSOR + struct.pack("<IQIQ", 1, 4, 999, 0) + b"\0" * 100,
    "tensor beyond": header(tensors=1) + TENSOR + struct.pack("<IQIQ", 1, 4, 0, HUGE) + b"\0" * 100,
    "tensor at the end": header(tensors=1)
    + TENSOR
    + struct.pack("<IQIQ", 1, 64, 0, 32)
    + b"\0" * 99,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_headers_that_lie(name: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        refused(HOSTILE[name], tmp_path / "hostile.gguf")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_in_the_header(
    sound: Path, tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(sound.read_bytes())
    for position, value in changes:
        data[position] = value
    path = tmp_path / "changed.gguf"
    path.write_bytes(data)
    with contextlib.suppress(FormatError):  # a changed letter in a name can still be a GGUF file
        open_gguf(path)


GOOD: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.embedding_length": 8,
    "llama.block_count": 1,
    "llama.feed_forward_length": 8,
    "llama.attention.head_count": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.context_length": 64,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "ab"],
    "tokenizer.ggml.merges": ["a b"],
}


def write(path: Path, changes: dict[str, Any]) -> Path:
    writer = GGUFWriter(path, "llama")
    for key, value in (GOOD | changes).items():
        if key == "general.architecture" or value is None:
            continue
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_array(key, value)
    shapes = {"token_embd": (3, 8), "output_norm": (8,), "blk.0.attn_norm": (8,)}
    shapes |= {"blk.0.ffn_norm": (8,)}
    matrices = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes |= {f"blk.0.{name}": (8, 8) for name in matrices}
    for name, shape in shapes.items():
        if changes.get("without") != name:
            writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_file_that_is_changed_below_is_sound(tmp_path: Path) -> None:
    import_gguf(write(tmp_path / "good.gguf", {}), tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()


@pytest.mark.parametrize(
    "changes",
    [
        {"llama.block_count": 4_000_000_000},
        {"llama.block_count": 2},
        {"llama.block_count": "many"},
        {"llama.block_count": None},
        {"llama.attention.head_count": 0},
        {"llama.attention.head_count": 3},
        {"llama.attention.head_count": [2, 2]},
        {"llama.embedding_length": 4_000_000_000},
        {"llama.embedding_length": 0},
        {"llama.rope.scaling.type": "yarn"},
        {"llama.rope.dimension_count": 2},
        {"tokenizer.ggml.tokens": None},
        {"tokenizer.ggml.tokens": "abc"},
        {"tokenizer.ggml.tokens": [1, 2, 3]},
        {"tokenizer.ggml.tokens": ["a"]},
        {"tokenizer.ggml.tokens": ["a", "b", "ab" * 5000]},
        {"tokenizer.ggml.merges": ["a"]},
        {"tokenizer.ggml.merges": ["a x"]},
        {"tokenizer.ggml.merges": None},
        {"tokenizer.ggml.model": "bert"},
        {"tokenizer.ggml.model": "llama"},
        {"tokenizer.ggml.pre": "qwen2"},
        {"tokenizer.ggml.bos_token_id": 99, "tokenizer.ggml.add_bos_token": 1},
        {"tokenizer.ggml.token_type": [1]},
        {"without": "blk.0.ffn_up"},
    ],
    ids=str,
)
def test_fields_that_make_no_model(changes: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "odd.gguf", changes)
    with pytest.raises(FormatError) as caught:
        import_gguf(path, tmp_path)
    assert caught.value.message and caught.value.where


def test_a_family_that_is_not_supported(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "m.gguf", "rwkv7")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(FormatError, match="'rwkv7' is not supported") as caught:
        import_gguf(tmp_path / "m.gguf", tmp_path)
    assert "gemma3" in caught.value.fix
