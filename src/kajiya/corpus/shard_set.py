"""The shards of a corpus as one: sequences counted through all of them, tokens in one long row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.corpus.shards import Shard


@dataclass(frozen=True)
class Span:
    """`length` tokens of a document of the corpus, from the document's token `offset` on."""

    document: int
    offset: int
    length: int


class ShardSet:
    """`shards` in their order. `lengths` and `starts` are those of each sequence in the long row."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = tuple(shards)
        self.lengths = np.concatenate(
            [np.zeros(0, np.int32), *(shard.lengths for shard in self.shards)]
        )
        ends = np.cumsum(self.lengths, dtype=np.int64)
        self.starts = np.concatenate([[0], ends])[:-1]
        self.tokens = int(ends[-1]) if len(ends) else 0
        self._first = np.cumsum([0, *(len(shard) for shard in self.shards)])  # sequence of each

    @classmethod
    def open(cls, folder: Path, *patterns: str) -> ShardSet:
        """The shards in `folder` whose index matches, in the order of patterns and names.

        Raises `FormatError` for one that is damaged.
        """
        found = [path for pattern in patterns for path in sorted(folder.glob(f"{pattern}.idx"))]
        return cls([Shard.open(path.with_suffix("")) for path in found])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, sequence: int) -> NDArray[Any]:
        """The token ids of one sequence."""
        shard = int(np.searchsorted(self._first, sequence, side="right")) - 1
        return self.shards[shard][sequence - int(self._first[shard])]

    def document(self, sequence: int) -> tuple[int, int]:
        """Which document of the corpus a sequence is, and the token in it at which it begins."""
        shard = int(np.searchsorted(self._first, sequence, side="right")) - 1
        return self.shards[shard].document(sequence - int(self._first[shard]))

    def read(self, start: int, stop: int) -> tuple[NDArray[np.int64], tuple[Span, ...]]:
        """Tokens `start` to `stop` of the long row, and the documents that they are of."""
        pieces: list[NDArray[Any]] = []
        spans: list[Span] = []
        sequence = int(np.searchsorted(self.starts, start, side="right")) - 1
        while start < stop:
            inside = start - int(self.starts[sequence])
            piece = self[sequence][inside : inside + stop - start]
            if len(piece):
                number, offset = self.document(sequence)
                pieces.append(piece)
                spans.append(Span(number, offset + inside, len(piece)))
            start += len(piece)
            sequence += 1
        return np.concatenate([np.zeros(0, np.int64), *pieces]), tuple(spans)
