"""Sets rows aside for measuring, the same ones every time whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kajiya.data.rows import Row

SMALLEST = 20  # with fewer rows, every one of them is needed for training


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows held out, each in their original order; together all rows."""

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]


def split_rows(
    rows: Sequence[Row], *, seed: int = 0, share: float = 0.05, most: int = 200
) -> Split:
    """Hold out `share` of the rows (at least 1, at most `most`), chosen by their ids and the seed.

    Fewer than 20 rows, or a share of 0: none are held out.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be from 0 to below 1, not {share}")
    if len(rows) < SMALLEST or share == 0:
        return Split(tuple(rows), ())
    count = min(max(1, round(len(rows) * share)), most)
    chosen = set(sorted((row.id for row in rows), key=lambda name: _draw(seed, name))[:count])
    return Split(
        tuple(row for row in rows if row.id not in chosen),
        tuple(row for row in rows if row.id in chosen),
    )


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\n{name}".encode()).hexdigest()
