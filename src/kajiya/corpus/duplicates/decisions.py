"""What became of documents that resemble others: a table on the disk, and batches marked by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kajiya.core.files import replacing
from kajiya.corpus.duplicates.clusters import stars
from kajiya.corpus.duplicates.rows import Rows

SCHEMA = pl.Schema(
    {
        "id": pl.String,
        "source": pl.String,
        "cluster": pl.Int64,
        "keep": pl.Boolean,
        "duplicate_of": pl.String,
        "duplicate_source": pl.String,
        "similarity": pl.Float64,
    }
)


class Decisions:
    """A row for each document of a cluster of two or more, in the order of the documents.

    `cluster` is the number of the cluster's first document among all documents. Where a document is a
    duplicate, `duplicate_of` and `duplicate_source` name the kept one that it resembles and
    `similarity` says how much; `keep` is true for all others and for copies that stay. Documents that
    are not in the table stay.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        self._dropped: pl.DataFrame | None = None

    def table(self) -> pl.LazyFrame:
        """The table, with the columns of `SCHEMA`."""
        return pl.scan_parquet(self.path)

    def summary(self) -> dict[str, int]:
        """How many documents are in `clusters`, how many clusters there are, how many are dropped."""
        counts = self.table().select(
            pl.len().alias("documents"),
            pl.col("cluster").n_unique().alias("clusters"),
            (~pl.col("keep")).sum().alias("dropped"),
        )
        return dict(counts.collect().row(0, named=True))

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same documents with `reason` set for those dropped here that had none."""
        if self._dropped is None:
            dropped = self.table().filter(~pl.col("keep")).select("source", "id")
            self._dropped = dropped.with_columns(pl.lit(self.reason).alias("_reason")).collect()
        marked = frame.join(self._dropped, on=["source", "id"], how="left", maintain_order="left")
        earlier = pl.col("reason") if "reason" in frame.columns else pl.lit(None, pl.String)
        reason = pl.coalesce(earlier, pl.col("_reason")).alias("reason")
        return marked.with_columns(reason).drop("_reason")


def decide(
    root: NDArray[np.int64],
    signatures: Rows,
    enough: int,
    ranks: Rows,
    parts: list[Path],
    rehydrate: int,
    path: Path,
    reason: str,
) -> Decisions:
    """Choose what stays of each cluster and write `path`, whole or not at all.

    `root` is the cluster of each document, `ranks` what it is wanted by (less first; of equal ones the
    earlier document), `parts` files with ids and sources.
    """
    rows = _in_company(root)
    rank = ranks.take(rows)
    order = np.lexsort((rows, rank[:, 1], rank[:, 0], root[rows]))
    rows = rows[order]
    found = list(stars(rows, root[rows], signatures, enough, len(rows)))
    centre = np.concatenate([part[1] for part in found] or [rows])
    equal = np.concatenate([part[2] for part in found] or [rows])
    table = pl.DataFrame(
        {
            "row": rows,
            "cluster": root[rows],
            "keep": _copies_kept(centre, rehydrate),
            "centre": centre,
            "similarity": equal / signatures.width,
        }
    ).sort("row")
    wanted = pl.DataFrame({"row": np.unique(centre[centre != rows])})
    named = pl.concat(
        [
            part.join(wanted, on="row", how="semi").select(
                centre=pl.col("row"), duplicate_of=pl.col("id"), duplicate_source=pl.col("source")
            )
            for part in _documents(parts)
        ]
        or [pl.DataFrame()]
    )
    with replacing(path) as scratch:
        empty = pl.DataFrame(schema=SCHEMA).to_arrow()
        with pq.ParquetWriter(scratch, empty.schema) as file:
            for part in _documents(parts):
                file.write_table(_rows(part, table, named).to_arrow())
    return Decisions(path, reason)


def _rows(part: pl.DataFrame, table: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """The rows of `SCHEMA` for the documents of a part that are in clusters."""
    inside = table.filter(pl.col("row").is_between(part["row"][0], part["row"][-1]))
    alone = pl.col("centre") == pl.col("row")
    return (
        inside.join(part, on="row", how="left", maintain_order="left")
        .join(named, on="centre", how="left", maintain_order="left")
        .with_columns(
            pl.when(alone).then(None).otherwise(pl.col(column)).alias(column)
            for column in ("duplicate_of", "duplicate_source", "similarity")
        )
        .select(SCHEMA.names())
    )


def _documents(parts: list[Path]) -> Iterator[pl.DataFrame]:
    """Ids and sources with their numbers among all documents."""
    first = 0
    for path in parts:
        part = pl.read_parquet(path).with_row_index("row", first)
        yield part.with_columns(pl.col("row").cast(pl.Int64))
        first += len(part)


def _in_company(root: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows in clusters of two or more."""
    joined = np.flatnonzero(root != np.arange(len(root)))
    return np.union1d(joined, root[joined])


def _copies_kept(centre: NDArray[np.int64], rehydrate: int) -> NDArray[Any]:
    """Which stay of the stars in `centre`, whose members come in the order in which they are wanted."""
    order = np.argsort(centre, kind="stable")
    _, begins, sizes = np.unique(centre[order], return_index=True, return_counts=True)
    copies = np.ones(len(sizes), np.int64)
    left = sizes.copy()
    while rehydrate and (left >= rehydrate).any():
        left //= rehydrate
        copies += left > 0
    place = np.empty(len(centre), np.int64)
    place[order] = np.arange(len(centre)) - np.repeat(begins, sizes)
    kept = np.empty(len(centre), bool)
    kept[order] = place[order] < np.repeat(copies, sizes)
    return kept
