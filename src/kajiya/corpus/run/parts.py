"""Batches of documents on the disk: Parquet parts, and markers that say which of them are finished.

A marker is written after everything that it speaks for, each in one step, so whatever has a marker
is whole. The same batch gives the same bytes.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kajiya.core.files import atomic_file, write_json

_ROWS = 4096  # of a row group; a reader holds one at a time
_LEVEL = 3


@dataclass(frozen=True)
class Part:
    """The batch `number` of the source `source`, both counted from 0; it keeps its name in every stage."""

    source: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.source:03}-{self.number:05}"


def write_part(path: Path, frame: pl.DataFrame) -> None:
    """Write a batch in one step."""
    packed = io.BytesIO()  # so that a full disk is an ordinary error of the file's, not of Polars'
    frame.rechunk().write_parquet(
        packed, compression="zstd", compression_level=_LEVEL, row_group_size=_ROWS
    )
    with atomic_file(path) as file:
        file.write(packed.getbuffer())


# Markers


def finish(path: Path, facts: dict[str, Any]) -> None:
    """Mark as finished what `facts` tells of."""
    write_json(path, facts)


def finished(path: Path) -> dict[str, Any] | None:
    """What a marker tells; None if there is none."""
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return facts
