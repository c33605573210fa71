"""Exact and near-duplicates among the documents of a corpus, which is read once.

What is kept of each document while reading is a sketch of a few hundred bytes, on the disk; memory holds
a batch, a part of the sketches, and some ten bytes a document. The result depends on the documents and
their order, not on how they were batched. Documents without characters have no duplicates.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.corpus.compared import compared
from kajiya.corpus.document import id_twice
from kajiya.corpus.duplicates import loops
from kajiya.corpus.duplicates.clusters import clusters
from kajiya.corpus.duplicates.decisions import Decisions, decide
from kajiya.corpus.duplicates.rows import Rows, equal_runs
from kajiya.corpus.duplicates.settings import ExactSettings, Keep, NearSettings
from kajiya.corpus.hashing import digests, hashes
from kajiya.corpus.utf8 import memory

_Sketch = Callable[[pl.Series], tuple[NDArray[Any], NDArray[Any]]]  # signatures, keys


def near_duplicates(
    batches: Iterable[pl.DataFrame], settings: NearSettings, scratch: Path
) -> Decisions:
    """Which documents share most of their shingles, written to `scratch/near-duplicates.parquet`.

    Raises `DataError` where two documents have the same source and id, `ConfigError` where the
    column of the keep policy is missing.
    """

    def sketch(texts: pl.Series) -> tuple[NDArray[Any], NDArray[Any]]:
        read = compared(texts)
        shape = (settings.shingle, settings.bands, settings.rows)
        signatures, keys = loops.sketch(read.data, read.starts, *shape)
        return signatures, keys

    places = settings.bands * settings.rows
    enough = math.ceil(settings.threshold * places)
    return _duplicates(
        batches, "near-duplicate", sketch, (settings.bands, places, enough), settings.keep, scratch
    )


def exact_duplicates(
    batches: Iterable[pl.DataFrame], settings: ExactSettings, scratch: Path
) -> Decisions:
    """Which documents are the same text, written to `scratch/exact-duplicates.parquet`.

    Texts are told apart by 192 bits of hashes. Raises as `near_duplicates`.
    """

    def sketch(texts: pl.Series) -> tuple[NDArray[Any], NDArray[Any]]:
        read = compared(texts)
        return digests(read.data, read.starts).view("u4"), hashes(read.data, read.starts)[:, None]

    return _duplicates(batches, "exact-duplicate", sketch, (1, 4, 4), settings.keep, scratch)


def _duplicates(
    batches: Iterable[pl.DataFrame],
    reason: str,
    sketch: _Sketch,
    shape: tuple[int, int, int],
    keep: Keep,
    scratch: Path,
) -> Decisions:
    bands, places, enough = shape
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix=f".{reason}-") as name,
        ExitStack() as open_,
    ):
        folder = Path(name)
        signatures = open_.enter_context(Rows(folder / "signatures", "u4", places))
        keys = [open_.enter_context(Rows(folder / f"keys-{i}", "u8")) for i in range(bands)]
        ranks = open_.enter_context(Rows(folder / "ranks", "f8", 2))
        names = open_.enter_context(Rows(folder / "names", "u8"))
        parts: list[Path] = []
        for batch in batches:
            if batch.is_empty():
                continue
            found, several = sketch(batch["text"])
            signatures.append(found)
            for band, rows in enumerate(keys):
                rows.append(several[:, band])
            ranks.append(_ranks(batch, keep))
            whole = pl.format("{}\n{}", "source", "id")
            names.append(hashes(*memory(batch.select(whole).to_series())))
            parts.append(folder / f"documents-{len(parts)}.parquet")
            batch.select("id", "source").write_parquet(parts[-1])
        _check_names(names, parts)
        root = clusters(keys, signatures, enough)
        path = scratch / f"{reason}s.parquet"
        return decide(root, signatures, enough, ranks, parts, keep.rehydrate, path, reason)


def _ranks(batch: pl.DataFrame, keep: Keep) -> NDArray[Any]:
    """What documents are wanted by, less first: place of the source, and the policy's value."""
    if keep.policy == "best" and keep.column not in batch.columns:
        raise ConfigError(
            tr(
                f"the documents have no column {keep.column!r}",
                f"文書に {keep.column!r} という列がありません",
            ),
            where="keep.column",
            fix=tr(f"columns: {', '.join(batch.columns)}", f"使える列: {', '.join(batch.columns)}"),
        )
    value = {
        "longest": -pl.col("text").str.len_chars().cast(pl.Float64),
        "first": pl.lit(0.0),
        "best": -pl.col(keep.column or "text").cast(pl.Float64, strict=False),
    }[keep.policy]
    places = dict(zip(keep.sources, range(len(keep.sources)), strict=True))
    place = pl.col("source").replace_strict(places, default=len(places), return_dtype=pl.Float64)
    return batch.select(
        place.alias("place"), value.fill_nan(None).fill_null(math.inf).alias("value")
    ).to_numpy()


def _check_names(names: Rows, parts: list[Path]) -> None:
    for _, rows in equal_runs(names):
        documents = pl.scan_parquet(parts).select("source", "id")
        source, name = documents.slice(int(rows[0]), 1).collect().row(0)
        raise id_twice(source, name)
