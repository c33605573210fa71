"""Token shards: all documents of a corpus as one memory-mapped row of tokens, and where each begins.

The layout is Megatron-LM's indexed dataset (`NAME.bin` and `NAME.idx`, version 1), which other
trainers read too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.core.errors import FormatError
from kajiya.core.files import atomic_file
from kajiya.core.language import tr

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_HEADER = struct.Struct("<9sQBQQ")  # magic, version, type, sequences, documents + 1
_TYPES: dict[int, Any] = {8: np.uint16, 4: np.int32}  # Megatron's numbers for them


class Shard:
    """Documents as token ids, read from the disk where they are asked for.

    `tokens` is all of them in a row, `lengths` and `starts` those of each document in it.
    """

    def __init__(self, tokens: NDArray[Any], lengths: NDArray[np.int32]) -> None:
        self.tokens = tokens
        self.lengths = lengths
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])[:-1]

    @classmethod
    def open(cls, path: Path) -> Shard:
        """The shard `path.bin` with `path.idx`. Raises `FormatError` if they do not belong together."""
        try:
            index = path.with_suffix(".idx").read_bytes()
            magic, version, kind, sequences, _ = _HEADER.unpack_from(index)
            if magic != _MAGIC or version != _VERSION:
                raise ValueError("not an index of version 1")
            lengths = np.frombuffer(index, np.int32, sequences, _HEADER.size)
            tokens = np.memmap(path.with_suffix(".bin"), _TYPES[kind], mode="r")
            if int(lengths.sum(dtype=np.int64)) != len(tokens):
                raise ValueError("the index speaks of another number of tokens")
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise FormatError(
                tr(
                    f"the token shard cannot be read: {error}",
                    f"トークンのファイルを読めません: {error}",
                ),
                where=str(path),
                fix=tr("make it again", "作り直してください"),
            ) from None
        return cls(tokens, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, document: int) -> NDArray[Any]:
        """The token ids of one document."""
        start = self.starts[document]
        return self.tokens[start : start + self.lengths[document]]


def write_shard(path: Path, documents: Iterable[Sequence[int]], vocab_size: int) -> int:
    """Write `path.bin` and `path.idx` in one step each, the index last; returns the tokens written.

    Tokens take two bytes where `vocab_size` allows it, else four.
    """
    kind = 8 if vocab_size <= 1 << 16 else 4
    lengths: list[int] = []
    with ExitStack() as files:
        tokens = files.enter_context(atomic_file(path.with_suffix(".bin")))
        for ids in documents:
            tokens.write(np.asarray(ids, _TYPES[kind]).tobytes())
            lengths.append(len(ids))
    sizes = np.array(lengths, np.int32)
    ends = np.cumsum(sizes, dtype=np.int64)
    pointers = (np.concatenate([[0], ends])[:-1] * np.dtype(_TYPES[kind]).itemsize).astype(np.int64)
    with atomic_file(path.with_suffix(".idx")) as index:
        index.write(_HEADER.pack(_MAGIC, _VERSION, kind, len(lengths), len(lengths) + 1))
        index.write(sizes.tobytes() + pointers.tobytes())
        index.write(np.arange(len(lengths) + 1, dtype=np.int64).tobytes())
    return int(ends[-1]) if lengths else 0
