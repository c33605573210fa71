"""Walks a GGUF header within the bounds of its file, before a library that trusts headers reads it.

A header that claims more than its file can hold is refused at once: no count in it makes this loop,
or the reader after it, do more work than the file's own bytes are worth.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # type → bytes
_STRING, _ARRAY = 8, 9
_DIMENSIONS = 4
_ELEMENTS_PER_BYTE = 8  # no type packs more numbers into a byte


class _Walk:
    """A position in the bytes of a file; moving beyond the end raises `ValueError`."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.position = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def skip(self, size: int) -> None:
        if size > self.left:
            raise ValueError(f"it ends at byte {len(self.data)}, inside its header")
        self.position += size

    def integer(self, size: int) -> int:
        start = self.position
        self.skip(size)
        value: int = struct.unpack_from("<I" if size == 4 else "<Q", self.data, start)[0]
        return value

    def count(self, what: str, smallest: int) -> int:
        """A count of things of which each takes at least `smallest` bytes."""
        value = self.integer(8)
        if value * smallest > self.left:
            raise ValueError(f"{value} {what} cannot be in a file of {len(self.data)} bytes")
        return value

    def string(self) -> None:
        self.skip(self.count("characters", 1))

    def value(self, kind: int) -> None:
        if kind == _STRING:
            self.string()
        elif kind in _SCALARS:
            self.skip(_SCALARS[kind])
        elif kind == _ARRAY:
            self._array()
        else:
            raise ValueError(f"there is no value type {kind}")

    def _array(self) -> None:
        kind = self.integer(4)
        if kind in _SCALARS:
            self.skip(self.count("numbers", _SCALARS[kind]) * _SCALARS[kind])
        elif kind == _STRING:
            for _ in range(self.count("strings", 8)):
                self.string()
        else:
            raise ValueError(f"there are no arrays of type {kind}")

    def tensor(self) -> None:
        self.string()
        dimensions = self.integer(4)
        if not 1 <= dimensions <= _DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self.integer(8)
        if elements > _ELEMENTS_PER_BYTE * len(self.data):
            raise ValueError(f"a tensor of {elements} numbers")
        self.skip(12)  # type and offset


def check_header(path: Path) -> None:
    """Raise `ValueError` if the header of the GGUF file at `path` is not one, or exceeds the file."""
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise ValueError("no GGUF magic")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            walk = _Walk(data)
            walk.skip(len(_MAGIC))
            version = walk.integer(4)
            if version not in _VERSIONS:
                raise ValueError(f"GGUF version {version}")
            tensors = walk.count("tensors", 24)
            for _ in range(walk.count("fields", 13)):
                walk.string()
                walk.value(walk.integer(4))
            for _ in range(tensors):
                walk.tensor()
