"""Lines and paragraphs that many documents hold: menus, footers, disclaimers.

A first pass counts in how many documents each occurs, a second takes the frequent ones out of the texts.
Counting goes by a 64-bit hash; memory holds a part of the hashes and those of frequent lines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.config import Config, option
from kajiya.corpus.compared import compared
from kajiya.corpus.duplicates.rows import Rows, equal_runs
from kajiya.corpus.hashing import hashes

_BETWEEN = {"line": "\n", "paragraph": "\n\n"}


class LineSettings(Config):
    """What is taken out as repeated."""

    unit: Literal["line", "paragraph"] = option(
        "line",
        en="What is counted",
        ja="数える単位",
        help=(
            "paragraphs are parted by an empty line",
            "paragraph は空行で区切られた段落です",
        ),
    )
    documents: int = option(
        10, ge=2, en="Documents that hold it", ja="何件以上の文書にあれば取り除くか"
    )
    shortest: int = option(
        8,
        ge=1,
        en="Characters at least",
        ja="対象にする最短の文字数",
        help=(
            "shorter ones, such as a yes in a dialogue, stay; spaces do not count",
            "これより短いもの (会話の相づちなど) は残します。空白は数えません",
        ),
    )


class RepeatedLines:
    """Takes the lines that `repeated_lines` found frequent out of documents.

    `frequent` are their hashes, ascending, and `counts` the documents that hold them.
    """

    def __init__(
        self, settings: LineSettings, frequent: NDArray[np.uint64], counts: NDArray[np.int64]
    ) -> None:
        self._settings = settings
        self.frequent = frequent
        self.counts = counts

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same documents without frequent lines.

        `repeated.lines` says how many each lost. A document of which no text is left keeps its
        text and gets the `reason` `repeated-lines`.
        """
        lines = _lines(frame, self._settings)
        stays = ~np.isin(lines["hash"].to_numpy(), self.frequent)
        between = _BETWEEN[self._settings.unit]
        left = (
            lines.with_columns(pl.Series("stays", stays))
            .group_by("row", maintain_order=True)
            .agg(
                pl.col("line").filter(pl.col("stays")).str.join(between).alias("_left"),
                (~pl.col("stays")).sum().cast(pl.Int64).alias("repeated.lines"),
            )
        )
        nothing = (pl.col("repeated.lines") > 0) & (pl.col("_left").str.strip_chars() == "")
        earlier = pl.col("reason") if "reason" in frame.columns else pl.lit(None, pl.String)
        some = (pl.col("repeated.lines") > 0) & ~nothing
        return (
            frame.with_columns(left["_left"], left["repeated.lines"])
            .with_columns(
                pl.when(some).then("_left").otherwise("text").alias("text"),
                pl.coalesce(earlier, pl.when(nothing).then(pl.lit("repeated-lines"))).alias(
                    "reason"
                ),
            )
            .drop("_left")
        )


def repeated_lines(
    batches: Iterable[pl.DataFrame], settings: LineSettings, scratch: Path
) -> RepeatedLines:
    """Count in how many documents each line (or paragraph) occurs."""
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix=".lines-") as folder,
        Rows(Path(folder) / "lines", "u8") as seen,
    ):
        for batch in batches:
            once = _lines(batch, settings).select("row", "hash").unique()
            seen.append(once["hash"].to_numpy())
        found = [_frequent(keys, settings.documents) for keys, _ in equal_runs(seen)]
    keys = np.concatenate([np.zeros(0, np.uint64), *(part[0] for part in found)])
    counts = np.concatenate([np.zeros(0, np.int64), *(part[1] for part in found)])
    order = np.argsort(keys)
    return RepeatedLines(settings, keys[order], counts[order])


def _frequent(keys: NDArray[np.uint64], enough: int) -> tuple[NDArray[Any], NDArray[Any]]:
    values, counts = np.unique(keys, return_counts=True)
    return values[counts >= enough], counts[counts >= enough]


def _lines(frame: pl.DataFrame, settings: LineSettings) -> pl.DataFrame:
    """A row for each line: its document's number in the frame, itself, and its hash (0 if too short)."""
    lines = (
        frame.select(pl.col("text").str.split(_BETWEEN[settings.unit]).alias("line"))
        .with_row_index("row")
        .explode("line")
    )
    read = compared(lines["line"])
    long = read.lengths >= settings.shortest
    return lines.with_columns(pl.Series("hash", np.where(long, hashes(read.data, read.starts), 0)))
