"""Where the characters of a changed text stood before it was changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OffsetMap:
    """Character `i` of the changed text was made of `original[starts[i]:ends[i]]`."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def unchanged(cls, length: int) -> OffsetMap:
        """The map of a text that was left as it was."""
        starts = np.arange(length, dtype=np.int64)
        return cls(starts, starts + 1)

    def __len__(self) -> int:
        return len(self.starts)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that `changed[start:end]` came from, what was removed inside it included.

        Of an empty part: the place before its character, or the original's end as far as it was kept.
        Raises `IndexError` if the part is not within the changed text.
        """
        if not 0 <= start <= end <= len(self):
            raise IndexError(f"{start}:{end} of {len(self)}")
        if start < end:
            return int(self.starts[start]), int(self.ends[end - 1])
        at = self.starts[start] if start < len(self) else self.ends[-1] if len(self) else 0
        return int(at), int(at)

    def keep(self, kept: NDArray[Any]) -> OffsetMap:
        """The map after all characters were removed for which `kept` does not hold."""
        return OffsetMap(self.starts[kept], self.ends[kept])
