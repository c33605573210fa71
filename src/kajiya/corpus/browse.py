"""Looking through the documents of a corpus, the kept and the dropped: filtered, a page at a time, or one as a whole.

Only the small columns of a part are read to find out which documents fit; texts are read of those that are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.corpus.document import SCHEMA
from kajiya.corpus.report.texts import beginning, shown

Side = Literal["kept", "dropped"]
_FOLDERS: dict[Side, str] = {"kept": layout.DOCUMENTS, "dropped": layout.DROPPED}
_KNOWN = [name for name in SCHEMA if name != "text"]
_LONGEST = 200_000  # characters of one document that are shown
_STATISTIC = "stat."


@dataclass(frozen=True)
class Query:
    """Which documents are wanted; what is empty, all. `words` is part of an id, a title or a URL."""

    source: str = ""
    stage: str = ""
    reason: str = ""
    words: str = ""

    def fits(self, dropped: bool) -> pl.Expr:
        """The condition on a row."""
        fits = pl.lit(True)
        exact = ("source", "stage", "reason") if dropped else ("source",)
        for name in exact:
            if wanted := getattr(self, name):
                fits &= pl.col(name) == wanted
        if self.words:
            found = [
                pl.col(name).str.to_lowercase().str.contains(self.words.lower(), literal=True)
                for name in ("id", "url", "title")
            ]
            fits &= pl.any_horizontal(found)
        return fits


@dataclass(frozen=True)
class Documents:
    """A page of documents as `shown` in reports (beginnings, personal data masked), of `total` that fit.

    Each has the columns of a document, `characters`, `stage` and `reason` (empty for the kept), and `value`:
    the statistic that its reason is about, None where there is none.
    """

    total: int
    page: int
    pages: int
    rows: list[dict[str, Any]]


def look_through(
    folder: Path, side: Side, query: Query, page: int = 1, size: int = 10
) -> Documents:
    """The documents of the corpus in `folder` on one side that fit, in their order."""
    files = layout.part_files(folder / _FOLDERS[side])
    condition = query.fits(side == "dropped")
    counts = [_scan(path).filter(condition).select(pl.len()).collect().item() for path in files]
    total = int(sum(counts))
    pages = max(1, -(-total // size))
    page = max(1, min(page, pages))
    first, left = (page - 1) * size, size
    rows: list[dict[str, Any]] = []
    for path, count in zip(files, counts, strict=True):
        if first < count and left:
            part = _scan(path).filter(condition).slice(first, left)
            rows += shown(_described(part))
            left = size - len(rows)
        first = max(0, first - count)
    return Documents(total, page, pages, rows)


def find_document(folder: Path, side: Side, source: str, id: str) -> dict[str, Any]:
    """One document as `Documents.rows` have them, but with its text (the first 200,000 characters), and `statistics`.

    Raises `NotFoundError` if there is none.
    """
    same = (pl.col("source") == source) & (pl.col("id") == id)
    for path in layout.part_files(folder / _FOLDERS[side]):
        part = _scan(path).filter(same).head(1)
        for row in shown(_described(part, pl.col("text").str.slice(0, _LONGEST))):
            names = [name for name in part.collect_schema() if name.startswith(_STATISTIC)]
            values = part.select(names).collect().to_dicts()[0] if names else {}
            return row | {
                "statistics": {
                    name.removeprefix(_STATISTIC): value
                    for name, value in values.items()
                    if value is not None
                }
            }
    raise NotFoundError(tr("there is no such document", "その文書はありません"), where=id)


def export(folder: Path, side: Side) -> Iterator[str]:
    """All documents of one side as JSON Lines, with everything that is known of them."""
    for path in layout.part_files(folder / _FOLDERS[side]):
        for batch in layout.read_part(path).iter_slices(256):
            yield batch.write_ndjson()


def _scan(path: Path) -> pl.LazyFrame:
    try:
        return pl.scan_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(
            tr(f"the part cannot be read: {error}", f"読めません: {error}"), where=path.name
        ) from None


def _described(part: pl.LazyFrame, text: pl.Expr | None = None) -> pl.DataFrame:
    """The columns of `Documents.rows`."""
    columns = part.collect_schema()
    names = [name.removeprefix(_STATISTIC) for name in columns if name.startswith(_STATISTIC)]
    dropped = "reason" in columns
    values = [
        pl.when(pl.col("reason") == name).then(pl.col(_STATISTIC + name).cast(pl.Float64))
        for name in names
        if dropped
    ]
    return part.select(
        *_KNOWN,
        beginning() if text is None else text,
        pl.col("text").str.len_chars().alias("characters"),
        *(pl.col(name) if dropped else pl.lit("").alias(name) for name in ("stage", "reason")),
        (pl.coalesce(values) if values else pl.lit(None, pl.Float64)).alias("value"),
    ).collect()
