"""Rows for pretraining: documents laid end to end and cut into windows of equal length.

Every window is a function of seed and number alone, so a run goes on anywhere as if it had never
stopped. A document that a window cuts in two is two documents for the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.shard_set import ShardSet, Span
from kajiya.corpus.shards import Shard
from kajiya.training.batches import IGNORED


@dataclass(frozen=True)
class Rows:
    """`inputs`, `targets` and `positions`, each `[rows, context]`.

    `targets[r, t]` is the token after `inputs[r, t]`, or `IGNORED` after the text's end; `positions`
    restarts at 0 with each document.
    """

    inputs: Tensor
    targets: Tensor
    positions: Tensor

    def to(self, device: torch.device) -> Rows:
        """The same on another device."""
        parts = (self.inputs, self.targets, self.positions)
        return Rows(*(part.to(device) for part in parts))

    def split(self, parts: int) -> list[Rows]:
        """At most `parts` batches of the same rows, in order."""
        chunks = (tensor.chunk(parts) for tensor in (self.inputs, self.targets, self.positions))
        return [Rows(*tensors) for tensors in zip(*chunks, strict=True)]


class Windows:
    """The documents of `shard` with these indices, as windows of `context` tokens.

    With a `seed`, documents and windows come in a new order each epoch, and the few tokens after an
    epoch's last whole window are left out; without one, in their own order, the last window padded.
    """

    def __init__(
        self,
        shard: Shard | ShardSet,
        documents: Sequence[int] | NDArray[np.int64],
        context: int,
        seed: int | None = None,
    ) -> None:
        self.shard = shard
        self.context = context
        self.seed = seed
        self._documents = np.array(documents, np.int64)
        self.tokens = int(shard.lengths[self._documents].sum(dtype=np.int64))
        predicted = self.tokens - 1
        self.count = predicted // context if seed is not None else -(-predicted // context)
        if self.count < 1:
            raise DataError(
                tr(
                    f"the text has {self.tokens} tokens, fewer than a row of {context}",
                    f"文章が {self.tokens} トークンしかなく、1行 ({context}) に足りません",
                ),
                fix=tr(
                    "give more text, or a shorter context", "文章を増やすか文脈を短くしてください"
                ),
            )
        self._epoch = -1
        self._order = self._documents
        self._ends = np.cumsum(shard.lengths[self._documents], dtype=np.int64)
        self._turns: NDArray[np.int64] = np.arange(self.count)

    def rows(self, first: int, number: int) -> Rows:
        """Windows `first` to `first + number - 1`, counted over all epochs."""
        inputs = np.zeros((number, self.context), np.int64)
        targets = np.full((number, self.context), IGNORED, np.int64)
        positions = np.zeros((number, self.context), np.int64)
        for row in range(number):
            epoch, turn = divmod(first + row, self.count)
            self._turn_to(epoch)
            ids, places = self._window(int(self._turns[turn]))
            length = min(len(ids), self.context)
            inputs[row, :length] = ids[:length]
            targets[row, : len(ids) - 1] = ids[1:]
            positions[row] = np.arange(self.context)  # also where it is padded: no start of its own
            positions[row, :length] = places[:length]
        return Rows(*(torch.from_numpy(part) for part in (inputs, targets, positions)))

    def _turn_to(self, epoch: int) -> None:
        if self.seed is None or epoch == self._epoch:
            return
        generator = np.random.default_rng([self.seed, epoch])
        self._epoch = epoch
        self._order = generator.permutation(self._documents)
        self._ends = np.cumsum(self.shard.lengths[self._order], dtype=np.int64)
        self._turns = generator.permutation(self.count)

    def spans(self, first: int, number: int) -> list[tuple[Span, ...]]:
        """Which documents of the corpus the windows of `rows(first, number)` hold, in order."""
        found = []
        for row in range(first, first + number):
            epoch, turn = divmod(row, self.count)
            self._turn_to(epoch)
            spans = []
            for sequence, inside, piece in self._pieces(int(self._turns[turn])):
                document, offset = self.shard.document(sequence)
                spans.append(Span(document, offset + inside, len(piece)))
            found.append(tuple(spans))
        return found

    def _window(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens of a window and the one after it (fewer at the end), with their positions."""
        pieces = [piece for _, _, piece in self._pieces(number)]
        places = [np.arange(len(piece)) for piece in pieces]
        return np.concatenate(pieces).astype(np.int64), np.concatenate(places)

    def _pieces(self, number: int) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """The parts of a window: sequence, first token in it, tokens."""
        start = number * self.context
        end = min(start + self.context + 1, self.tokens)
        index = int(np.searchsorted(self._ends, start, side="right"))
        while start < end:
            stop = int(self._ends[index])
            sequence = int(self._order[index])
            document = self.shard[sequence]
            offset = start - (stop - len(document))
            piece = document[offset : offset + end - start]
            yield sequence, offset, piece
            start += len(piece)
            index += 1
