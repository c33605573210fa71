"""Rows of numbers on the disk: appended as they come, read back in order, in parts, or by their number.

Scratch files of this process only, without a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

_AT_ONCE = 1 << 20  # rows read in one go
_SORTED_AT_ONCE = 1 << 24  # rows that `equal_runs` holds in memory


class Rows:
    """A file of rows of `width` numbers, for the length of a `with` block."""

    def __init__(self, path: Path, dtype: DTypeLike, width: int = 1) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self.width = width
        self._file = path.open("a+b")  # what is written goes to the end
        self.count = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add `[rows]` or `[rows, width]`."""
        self._file.write(np.ascontiguousarray(values, self._dtype).tobytes())
        self.count += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink()

    def parts(self, size: int = _AT_ONCE) -> Iterator[NDArray[Any]]:
        """All rows in their order, `size` at a time: `[rows]` if they have one number."""
        self._file.seek(0)
        while part := self._file.read(size * self.width * self._dtype.itemsize):
            yield self._shaped(np.frombuffer(part, self._dtype))

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The rows with these numbers."""
        size = self.width * self._dtype.itemsize
        found = bytearray(len(rows) * size)
        view = memoryview(found)
        for index, row in enumerate(rows.tolist()):
            self._file.seek(row * size)
            self._file.readinto(view[index * size : (index + 1) * size])
        return self._shaped(np.frombuffer(found, self._dtype))

    def _shaped(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self.width == 1 else values.reshape(-1, self.width)


def equal_runs(keys: Rows, at_once: int = _SORTED_AT_ONCE) -> Iterator[tuple[Any, Any]]:
    """Rows with equal keys (of 64 bits; 0 equals nothing), in parts that hold all rows of their keys.

    Yields the keys in ascending order and the numbers of their rows, ascending within a key; keys
    that only one row has are left out. Memory is bounded by `at_once`.
    """
    parts = np.uint64(-(-keys.count // at_once) or 1)
    for part in range(int(parts)):
        found: list[NDArray[Any]] = []
        numbers: list[NDArray[Any]] = []
        first = 0
        for some in keys.parts():
            wanted = np.flatnonzero((some % parts == part) & (some != 0))
            found.append(some[wanted])
            numbers.append(wanted + first)
            first += len(some)
        if not found:
            continue
        values = np.concatenate(found)
        order = np.argsort(values, kind="stable")
        values, rows = values[order], np.concatenate(numbers)[order]
        same = values[1:] == values[:-1]
        several = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        if several.any():
            yield values[several], rows[several]
