"""Token shards: documents of a corpus as one memory-mapped row of tokens, and where each begins.

The layout is Megatron-LM's indexed dataset (`NAME.bin` and `NAME.idx`, version 1), which other
trainers read too. A sequence is a document, or a part of one that is longer than a shard may be.
Beside them `NAME.docs.npy` may say which document of the corpus each sequence is: int64
`[sequences, 2]`, the document's number and the token in it at which the sequence begins.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
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
_DOCUMENTS = ".docs.npy"

Tokens = Sequence[int] | NDArray[Any]


class Shard:
    """Sequences of token ids, read from the disk where they are asked for.

    `tokens` is all of them in a row, `lengths` and `starts` those of each sequence in it; `documents`
    is the third array, `[sequences, 2]`; without the file each sequence is a document, in order.
    """

    def __init__(
        self,
        tokens: NDArray[Any],
        lengths: NDArray[np.int32],
        documents: NDArray[np.int64] | None = None,
    ) -> None:
        self.tokens = tokens
        self.lengths = lengths
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])[:-1]
        self.documents = _in_order(len(lengths)) if documents is None else documents

    @classmethod
    def open(cls, path: Path) -> Shard:
        """The shard `path.bin` with `path.idx`. Raises `FormatError` if they do not belong together."""
        try:
            index = path.with_suffix(".idx").read_bytes()
            magic, version, kind, sequences, _ = _HEADER.unpack_from(index)
            if magic != _MAGIC or version != _VERSION:
                raise ValueError("not an index of version 1")
            lengths = np.frombuffer(index, np.int32, sequences, _HEADER.size)
            tokens = _map(path.with_suffix(".bin"), _TYPES[kind])
            if int(lengths.sum(dtype=np.int64)) != len(tokens):
                raise ValueError("the index speaks of another number of tokens")
            documents = _read_documents(path.with_suffix(_DOCUMENTS), sequences)
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise FormatError(
                tr(
                    f"the token shard cannot be read: {error}",
                    f"トークンのファイルを読めません: {error}",
                ),
                where=str(path),
                fix=tr("make it again", "作り直してください"),
            ) from None
        return cls(tokens, lengths, documents)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, sequence: int) -> NDArray[Any]:
        """The token ids of one sequence."""
        start = self.starts[sequence]
        return self.tokens[start : start + self.lengths[sequence]]

    def document(self, sequence: int) -> tuple[int, int]:
        """Which document of the corpus a sequence is, and the token in it at which it begins."""
        number, offset = self.documents[sequence]
        return int(number), int(offset)


def write_shard(
    path: Path,
    sequences: Iterable[Tokens],
    vocab_size: int,
    documents: NDArray[np.int64] | None = None,
) -> int:
    """Write `path.bin` and `path.idx` in one step each, the index last; returns the tokens written.

    Tokens take two bytes where `vocab_size` allows it, else four. `documents` is the third array,
    `[sequences, 2]`: a sequence that begins at token 0 begins a document for other readers too.
    """
    kind = 8 if vocab_size <= 1 << 16 else 4
    lengths: list[int] = []
    with atomic_file(path.with_suffix(".bin")) as tokens:
        for ids in sequences:
            tokens.write(np.asarray(ids, _TYPES[kind]).tobytes())
            lengths.append(len(ids))
    if documents is None:
        bounds = np.arange(len(lengths) + 1, dtype=np.int64)
    else:
        begins = np.flatnonzero((documents[:, 1] == 0) | (np.arange(len(documents)) == 0))
        bounds = np.append(begins, len(documents)).astype(np.int64)
        with atomic_file(path.with_suffix(_DOCUMENTS)) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(documents, np.int64))
    sizes = np.array(lengths, np.int32)
    ends = np.cumsum(sizes, dtype=np.int64)
    pointers = (np.concatenate([[0], ends])[:-1] * np.dtype(_TYPES[kind]).itemsize).astype(np.int64)
    with atomic_file(path.with_suffix(".idx")) as index:
        index.write(_HEADER.pack(_MAGIC, _VERSION, kind, len(lengths), len(bounds)))
        index.write(sizes.tobytes() + pointers.tobytes() + bounds.tobytes())
    return int(ends[-1]) if lengths else 0


def _map(path: Path, kind: Any) -> NDArray[Any]:
    if path.stat().st_size == 0:  # which cannot be mapped
        return np.zeros(0, kind)
    return np.memmap(path, kind, mode="r")


def _read_documents(path: Path, sequences: int) -> NDArray[np.int64] | None:
    if not path.exists():
        return None
    if sequences == 0:
        return np.zeros((0, 2), np.int64)
    found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if found.shape != (sequences, 2) or found.dtype != np.int64:
        raise ValueError("the third array does not fit the index")
    return found


def _in_order(number: int) -> NDArray[np.int64]:
    return np.stack([np.arange(number), np.zeros(number, np.int64)], axis=1)
