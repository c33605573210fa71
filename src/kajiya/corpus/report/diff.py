"""Two presets of rules on the same documents: what one keeps and the other drops, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from kajiya.corpus.report.texts import beginning, shown
from kajiya.corpus.rules.preset import load_preset

_TEXTS = 3  # of each reason


def compare(batches: Iterable[pl.DataFrame], presets: Sequence[str]) -> dict[str, Any]:
    """The facts of the page `diff`. Which document is shown is decided by hashes of the ids."""
    first, second = (load_preset(name) for name in presets)
    decided = [_decisions(batch, first, second) for batch in batches]
    table = pl.concat(decided)
    kept = [pl.col("first").is_null(), pl.col("second").is_null()]
    return {
        "names": [_short(name) for name in presets],
        "documents": len(table),
        "characters": int(table["characters"].sum()),
        "both": _size(table.filter(kept[0] & kept[1])),
        "neither": _size(table.filter(~kept[0] & ~kept[1])),
        "only": [
            _only(table.filter(kept[0] & ~kept[1]), "second"),
            _only(table.filter(~kept[0] & kept[1]), "first"),
        ],
    }


def _decisions(batch: pl.DataFrame, first: Any, second: Any) -> pl.DataFrame:
    return batch.select(
        *("id", "source", "title", "text"),
        pl.col("text").str.len_chars().cast(pl.Int64).alias("characters"),
        pl.struct("source", "id").hash(seed=0).alias("_key"),
        first.apply(batch)["reason"].alias("first"),
        second.apply(batch)["reason"].alias("second"),
    ).with_columns(beginning())


def _only(table: pl.DataFrame, by: str) -> dict[str, Any]:
    """Documents that the preset `by` drops and the other keeps, by reason."""
    reasons = table.group_by(by).agg(pl.len().alias("documents"), pl.col("characters").sum())
    ordered = reasons.sort("documents", by, descending=[True, False]).rename({by: "reason"})
    groups = [
        row | {"texts": _texts(table.filter(pl.col(by) == row["reason"]))}
        for row in ordered.to_dicts()
    ]
    return _size(table) | {"reasons": groups}


def _texts(table: pl.DataFrame) -> list[dict[str, Any]]:
    return shown(table.bottom_k(_TEXTS, by="_key").sort("_key").drop("_key", "first", "second"))


def _size(table: pl.DataFrame) -> dict[str, int]:
    return {"documents": len(table), "characters": int(table["characters"].sum())}


def _short(name: str) -> str:
    """A preset's name, or that of its file."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".yaml")
