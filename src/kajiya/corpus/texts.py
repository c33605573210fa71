"""Many texts as one row of Unicode code points: what compiled loops read, from and to a table's column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from kajiya.corpus.compiled import compiled
from kajiya.corpus.utf8 import code_of, memory, size_of


@dataclass(frozen=True)
class Texts:
    """`points[starts[i]:starts[i + 1]]` is text `i`."""

    points: NDArray[np.uint32]
    starts: NDArray[np.int64]

    @classmethod
    def read(cls, column: pl.Series) -> Texts:
        """The texts of a column of strings. A null is an empty text."""
        raw, ends = memory(column)
        starts = _count(raw, ends)
        points = np.empty(starts[-1], np.uint32)
        _decode(raw, ends, points)
        return cls(points, starts)

    def column(self, name: str) -> pl.Series:
        """The texts as a column of strings. They hold no surrogates."""
        ends = _sizes(self.points, self.starts)
        raw = np.empty(ends[-1], np.uint8)
        _encode(self.points, raw)
        strings = pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(ends.data), pa.py_buffer(raw.data)
        )
        return pl.Series(name, strings, pl.String)

    def keep(self, kept: NDArray[np.bool_]) -> Texts:
        """The texts with only those characters for which `kept` holds."""
        before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return Texts(self.points[kept], before[self.starts])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Characters of each text."""
        return np.diff(self.starts)


@compiled
def _count(raw: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.int64]:
    starts = np.zeros(len(ends), np.int64)
    for text in range(len(ends) - 1):
        found = 0
        for i in range(ends[text], ends[text + 1]):
            found += (raw[i] & 0xC0) != 0x80
        starts[text + 1] = starts[text] + found
    return starts


@compiled
def _decode(raw: NDArray[Any], ends: NDArray[Any], points: NDArray[Any]) -> None:
    at = ends[0]
    for k in range(len(points)):
        size = size_of(raw, at)
        points[k] = code_of(raw, at, size)
        at += size


@compiled
def _sizes(points: NDArray[Any], starts: NDArray[Any]) -> NDArray[np.int64]:
    ends = np.zeros(len(starts), np.int64)
    for text in range(len(starts) - 1):
        size = 0
        for i in range(starts[text], starts[text + 1]):
            point = points[i]
            size += 1 + (point >= 0x80) + (point >= 0x800) + (point >= 0x10000)
        ends[text + 1] = ends[text] + size
    return ends


@compiled
def _encode(points: NDArray[Any], raw: NDArray[Any]) -> None:
    at = 0
    for point in points:
        if point < 0x80:
            raw[at] = point
            at += 1
            continue
        if point < 0x800:
            raw[at] = 0xC0 | point >> 6
            at += 1
        else:
            if point < 0x10000:
                raw[at] = 0xE0 | point >> 12
                at += 1
            else:
                raw[at] = 0xF0 | point >> 18
                raw[at + 1] = 0x80 | (point >> 12) & 0x3F
                at += 2
            raw[at] = 0x80 | (point >> 6) & 0x3F
            at += 1
        raw[at] = 0x80 | point & 0x3F
        at += 1
