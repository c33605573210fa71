"""Texts as reports show them: their beginnings, without personal data."""

from __future__ import annotations

from typing import Any

import polars as pl

from kajiya.corpus.personal.find import find_personal
from kajiya.corpus.personal.finding import KINDS
from kajiya.corpus.personal.mask import mask_text

CHARACTERS = 320  # shown of each
_MASKED = set(KINDS) - {"name"}  # a report is passed around; names are in every novel


def beginning() -> pl.Expr:
    """The part of the texts that may be shown."""
    return pl.col("text").str.slice(0, CHARACTERS)


def shown(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows, masked."""
    masked = [mask_text(text, find_personal(text), _MASKED) for text in frame["text"]]
    return frame.with_columns(pl.Series("text", masked, pl.String)).to_dicts()
