"""From token rows to batches: which rows go together, in which order, laid out how.

The order is a function of seed and epoch alone, so a resumed run sees exactly what it would have seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100  # a position without a label
_POOL = 64  # batches' worth of rows that are sorted by length together


@dataclass(frozen=True)
class Example:
    """One row as tokens; `trained[i]` says whether token `i` is a label."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """`input_ids` and `labels` `[rows, time]`; `labels[r, t]` belongs to the input at `t`, not `t + 1`.

    `position_ids` is given for packed rows only: it restarts at 0 with each document, which is how the
    model knows where one ends.
    """

    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor | None
    tokens: int

    def label_count(self) -> int:
        """Labels that have a token before them to be predicted from."""
        return int((self.labels[:, 1:] != IGNORED).sum())


def plan_epoch(
    lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int, packing: bool = False
) -> list[list[int]]:
    """Indices of the rows of each batch of one epoch; every row exactly once.

    Padded batches hold rows of similar length with `rows · longest ≤ batch_tokens`; packed ones fill
    `batch_tokens` first-fit. A row longer than that is a batch of its own.
    """
    order = list(range(len(lengths)))
    generator = random.Random(f"{seed}/{epoch}")  # noqa: S311
    generator.shuffle(order)
    if packing:
        return _pack(order, lengths, batch_tokens)
    mean = max(1, sum(lengths) // max(1, len(lengths)))
    pool = max(1, _POOL * batch_tokens // mean)
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda i: lengths[i])
        batches += _group(rows, lengths, batch_tokens)
    generator.shuffle(batches)
    return batches


def _group(rows: list[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Cut rows sorted by length into batches, longest first so that the remainder is the cheapest."""
    batches: list[list[int]] = []
    for row in reversed(rows):
        last = batches[-1] if batches else None
        if last is not None and (len(last) + 1) * lengths[last[0]] <= batch_tokens:
            last.append(row)
        else:
            batches.append([row])
    return batches


def _pack(order: list[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    bins: list[list[int]] = []
    room: list[int] = []
    for row in order:
        for index, free in enumerate(room):
            if lengths[row] <= free:
                bins[index].append(row)
                room[index] -= lengths[row]
                break
        else:
            bins.append([row])
            room.append(batch_tokens - lengths[row])
    return bins


def collate(examples: Sequence[Example], pad_id: int, packing: bool = False) -> Batch:
    """Lay examples out as one batch: padded on the right, or end to end in one row."""
    tokens = sum(len(example) for example in examples)
    if packing:
        ids = [token for example in examples for token in example.ids]
        labels = [label for example in examples for label in _labels(example)]
        positions = [position for example in examples for position in range(len(example))]
        return Batch(torch.tensor([ids]), torch.tensor([labels]), torch.tensor([positions]), tokens)
    longest = max(len(example) for example in examples)
    input_ids = torch.full((len(examples), longest), pad_id)
    targets = torch.full((len(examples), longest), IGNORED)
    for row, example in enumerate(examples):
        input_ids[row, : len(example)] = torch.tensor(example.ids)
        targets[row, : len(example)] = torch.tensor(_labels(example))
    return Batch(input_ids, targets, None, tokens)


def _labels(example: Example) -> list[int]:
    """The first token of a row is never a label: nothing of its own row comes before it."""
    pairs = zip(example.ids, (False, *example.trained[1:]), strict=True)
    return [token if trained else IGNORED for token, trained in pairs]


def drop_from_question(
    example: Example, share: float, generator: random.Random, fixed: int
) -> Example:
    """Leave out up to `share` of the tokens that are not labels, sparing `fixed` at either end of them.

    The share is drawn anew between 0 and `share`. The spared ends hold the chat template's markers.
    """
    rate = generator.random() * share
    first = next((i for i, trained in enumerate(example.trained) if trained), len(example))
    kept = [
        i
        for i in range(len(example))
        if i < fixed or i >= first - fixed or generator.random() >= rate
    ]
    if len(kept) == len(example):
        return example
    return Example(tuple(example.ids[i] for i in kept), tuple(example.trained[i] for i in kept))
