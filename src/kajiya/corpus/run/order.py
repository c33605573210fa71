"""In which order the documents stand in the shards, how often each, and which are held out.

Only numbers are held here, some tens of bytes a document; the tokens stay on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_LARGEST_SHARE = 0.05  # of the corpus that is held out
_LARGEST_WORK = 0.1  # of the held-out text that is one work


@dataclass(frozen=True)
class Cut:
    """Sequences of one shard: document, first token of it, tokens; `[sequences, 3]`."""

    name: str
    sequences: NDArray[np.int64]


def hold_out(table: pl.DataFrame, wanted: int) -> NDArray[np.bool_]:
    """Which documents are kept out of training: whole works, about `wanted` bytes, at most 5 %.

    None of the works is more than a tenth of what is held out, unless all are. `table` has `work`,
    whose values are in a random order, and `bytes`. A corpus of one work has nothing held out.
    """
    works = table.group_by("work").agg(pl.col("bytes").sum()).sort("work")
    if len(works) < 2 or not wanted:
        return np.zeros(len(table), bool)
    target = min(wanted, _LARGEST_SHARE * int(works["bytes"].sum()))
    small = works.filter(pl.col("bytes") <= _LARGEST_WORK * target)
    if small.is_empty():
        small = works.sort("bytes", "work").head(1)
    total = small["bytes"].cum_sum().to_numpy()
    chosen = small["work"].head(max(1, int(np.searchsorted(total, target, side="right"))))
    return table["work"].is_in(chosen.implode()).to_numpy()


def shuffled(number: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Documents 0, 1, …, each as often as `number` says, in a random order."""
    every = np.repeat(np.arange(len(number)), number)
    return np.random.default_rng(seed).permutation(every)


def cut(name: str, order: NDArray[np.int64], lengths: NDArray[np.int64], most: int) -> list[Cut]:
    """Shards `name-00000` … of at most `most` tokens. A longer document becomes several sequences."""
    pieces = np.maximum(1, -(-lengths[order] // most))
    documents = np.repeat(order, pieces)
    ends = np.cumsum(pieces)
    number = np.arange(len(documents)) - np.repeat(ends - pieces, pieces)
    offsets = number * most
    sizes = np.minimum(lengths[documents] - offsets, most)
    sequences = np.stack([documents, offsets, sizes], axis=1).astype(np.int64)
    total = np.cumsum(sizes, dtype=np.int64)
    shards: list[Cut] = []
    first = before = 0
    while first < len(sequences):
        last = int(np.searchsorted(total, before + most, side="right"))
        shards.append(Cut(f"{name}-{len(shards):05}", sequences[first:last]))
        first, before = last, int(total[last - 1])
    return shards
