"""Counts, histograms and samples of a corpus, gathered from its parts in one pass.

Counts are exact. Histograms are of a random sample of documents, and the texts shown are random too;
both are chosen by hashes of the ids, so the same corpus gives the same report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from kajiya.corpus.layout import CLUSTERS, DOCUMENTS, DROPPED, INDEX, iterate
from kajiya.corpus.report.histograms import histograms
from kajiya.corpus.report.texts import beginning, shown

GROUPS = ("source", "language", "licence", "domain")
STAGES = ("rules", "personal", "exact", "near", "lines", "contamination", "removed")
_SAMPLE = 20_000  # documents in the histograms
_TEXTS = {"kept": 6, "dropped": 3}  # texts shown: of all kept, and for each reason


def collect(folder: Path) -> dict[str, Any]:
    """The facts of the corpus in `folder`, as JSON."""
    seen = _Seen()
    for kept in iterate(folder / DOCUMENTS):
        seen.add(kept.with_columns(pl.lit("").alias("stage"), pl.lit("").alias("reason")))
    for dropped in iterate(folder / DROPPED):
        if len(dropped):
            seen.add(dropped)
    tokens = _tokens(folder / INDEX)
    counts = pl.concat(seen.counts).group_by(*GROUPS, "stage", "reason").sum()
    return {
        "totals": _totals(counts, tokens),
        "groups": {name: _group(counts, tokens, name) for name in GROUPS},
        "licences": _licences(counts),
        "waterfall": _waterfall(counts),
        "samples": {
            "kept": _texts(seen.texts.filter(pl.col("stage") == "")),
            "dropped": [
                {"stage": row["stage"], "reason": row["reason"], "texts": _texts(_of(seen, row))}
                for row in _waterfall(counts)
            ],
        },
        "personal": [
            {"kind": kind, "found": seen.found[kind], "documents": seen.affected[kind]}
            for kind in sorted(seen.found, key=lambda kind: (-seen.found[kind], kind))
            if seen.found[kind]
        ],
        "contamination": _contamination(seen.items),
        "repeated_lines": seen.lines,
        "clusters": _clusters(folder / CLUSTERS),
        "histograms": histograms(pl.concat(seen.numbers, how="diagonal_relaxed")),
    }


@dataclass
class _Seen:
    """What has been gathered so far."""

    counts: list[pl.DataFrame] = field(default_factory=list)
    numbers: list[pl.DataFrame] = field(default_factory=list)
    texts: pl.DataFrame = field(default_factory=pl.DataFrame)
    found: Counter[str] = field(default_factory=Counter)
    affected: Counter[str] = field(default_factory=Counter)
    items: list[pl.DataFrame] = field(default_factory=list)
    lines: int = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take a batch into account."""
        frame = frame.with_columns(
            pl.col("text").str.len_chars().cast(pl.Int64).alias("characters"),
            pl.struct("source", "id").hash(seed=0).alias("_key"),
        )
        self.counts.append(
            frame.group_by(*GROUPS, "stage", "reason").agg(
                pl.len().cast(pl.Int64).alias("documents"),
                pl.col("characters").sum(),
                pl.col("text").str.len_bytes().cast(pl.Int64).sum().alias("bytes"),
            )
        )
        numbers = [name for name in frame.columns if name.startswith("stat.")]
        some = frame.select("_key", "stage", "characters", *numbers)
        self.numbers = [
            pl.concat([*self.numbers, some], how="diagonal_relaxed").bottom_k(_SAMPLE, by="_key")
        ]
        for name in frame.columns:
            if name.startswith("personal."):
                column = frame[name].fill_null(0)
                self.found[name.removeprefix("personal.")] += int(column.sum())
                self.affected[name.removeprefix("personal.")] += int((column > 0).sum())
        if "repeated.lines" in frame.columns:
            self.lines += int(frame["repeated.lines"].fill_null(0).sum())
        if "contamination.items" in frame.columns:
            held = frame.select("_key", pl.col("contamination.items").alias("item"))
            self.items.append(held.explode("item").drop_nulls())
        self._sample_texts(frame)

    def _sample_texts(self, frame: pl.DataFrame) -> None:
        some = frame.select(
            *("_key", "stage", "reason", "id", "source", "title", "url", "characters"),
            beginning(),
        )
        most = pl.when(pl.col("stage") == "").then(_TEXTS["kept"]).otherwise(_TEXTS["dropped"])
        place = pl.col("_key").rank("ordinal").over("stage", "reason")
        self.texts = pl.concat([*([self.texts] if self.texts.width else []), some]).filter(
            place <= most
        )


def _tokens(folder: Path) -> pl.DataFrame | None:
    """Tokens of the documents by group; None if the corpus has not been tokenised."""
    tables = [part.group_by(*GROUPS).agg(pl.col("tokens").sum()) for part in iterate(folder)]
    return pl.concat(tables) if tables else None


def _totals(counts: pl.DataFrame, tokens: pl.DataFrame | None) -> dict[str, Any]:
    kept = counts.filter(pl.col("stage") == "")
    return {
        "read": int(counts["documents"].sum()),
        "kept": int(kept["documents"].sum()),
        "characters": int(kept["characters"].sum()),
        "bytes": int(kept["bytes"].sum()),
        "tokens": None if tokens is None else int(tokens["tokens"].sum()),
    }


def _group(counts: pl.DataFrame, tokens: pl.DataFrame | None, name: str) -> list[dict[str, Any]]:
    kept = pl.col("stage") == ""
    table = counts.group_by(name).agg(
        pl.col("documents").sum().alias("read"),
        pl.col("documents").filter(kept).sum().alias("kept"),
        pl.col("characters").filter(kept).sum(),
    )
    if tokens is not None:
        table = table.join(tokens.group_by(name).agg(pl.col("tokens").sum()), on=name, how="left")
    ordered = table.sort("characters", name, descending=[True, False])
    return ordered.rename({name: "name"}).to_dicts()


def _licences(counts: pl.DataFrame) -> list[dict[str, Any]]:
    """Which sources the kept documents of each licence are from."""
    kept = counts.filter((pl.col("stage") == "") & (pl.col("documents") > 0))
    return (
        kept.group_by("licence")
        .agg(pl.col("source").unique().sort().alias("sources"))
        .sort("licence")
        .to_dicts()
    )


def _waterfall(counts: pl.DataFrame) -> list[dict[str, Any]]:
    """What was dropped, by stage in their order and then the most frequent reason first."""
    table = counts.filter(pl.col("stage") != "").group_by("stage", "reason")
    rows = table.agg(pl.col("documents").sum(), pl.col("characters").sum()).to_dicts()
    places = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(
        rows, key=lambda row: (places.get(row["stage"], 9), -row["documents"], row["reason"])
    )


def _contamination(items: list[pl.DataFrame]) -> list[dict[str, Any]]:
    """Of each evaluation: how many of its items were found, and in how many documents."""
    if not items:
        return []
    task = pl.col("item").str.split(":").list.first().alias("task")
    counts = (
        pl.col("item").n_unique().alias("found"),
        pl.col("_key").n_unique().alias("documents"),
    )
    return pl.concat(items).group_by(task).agg(*counts).sort("task").to_dicts()


def _of(seen: _Seen, row: dict[str, Any]) -> pl.DataFrame:
    same = (pl.col("stage") == row["stage"]) & (pl.col("reason") == row["reason"])
    return seen.texts.filter(same)


def _texts(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return shown(frame.sort("_key").drop("_key", "stage", "reason"))


def _clusters(folder: Path) -> dict[str, dict[str, Any]]:
    """Of each kind of duplicates: documents in clusters, clusters, dropped, sizes of the largest."""
    return dict(_cluster_facts(folder))


def _cluster_facts(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("exact-duplicates", "near-duplicates"):
        path = folder / f"{name}.parquet"
        if path.exists():
            table = pl.scan_parquet(path)
            sizes = table.group_by("cluster").len().collect()["len"].sort(descending=True)
            dropped = table.select((~pl.col("keep")).sum()).collect().item()
            yield (
                name,
                {
                    "documents": int(sizes.sum()),
                    "clusters": len(sizes),
                    "dropped": int(dropped),
                    "largest": sizes.head(5).to_list(),
                },
            )
