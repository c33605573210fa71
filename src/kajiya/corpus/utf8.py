"""A table's column of strings as it lies in memory, and its characters: what compiled loops read."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from kajiya.corpus.compiled import compiled


def memory(texts: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The UTF-8 of all texts in a row, and where each begins; its length is one more than theirs.

    The first may begin anywhere. A null is an empty text.
    """
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_utf8())
    _, starts, data = array.buffers()
    if not len(array) or data is None:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    found = np.frombuffer(starts, np.int64, len(array) + 1, array.offset * 8)
    return np.frombuffer(data, np.uint8), found


@compiled
def size_of(data: Any, at: Any) -> Any:
    """The bytes of the character that begins at `at`."""
    byte = data[at]
    return 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4


@compiled
def code_of(data: Any, at: Any, size: Any) -> Any:
    """The code point of the `size` bytes at `at`."""
    byte = np.int64(data[at])
    if size == 1:
        return byte
    code = byte & (0xFF >> (size + 1))
    for step in range(1, size):
        code = (code << 6) | (np.int64(data[at + step]) & 0x3F)
    return code
