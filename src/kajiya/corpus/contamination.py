"""Evaluation items in a corpus: found by runs of characters, and the documents or passages removed.

A model that was trained on the questions that it is tested with is not tested. An item is found where a
document holds most of its runs of characters, whatever the width, case, spaces and punctuation. Which
documents are removed does not depend on how they are batched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.config import Config, option
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.compared import compared
from kajiya.corpus.hashing import find_known, shingles
from kajiya.corpus.sources.opened import read_lines
from kajiya.data.problems import at_line

REASON = "contamination"
_LONGEST = 1_000_000  # characters of a line
_TABLE = 64  # places of the table of hashes for each known hash


@dataclass(frozen=True)
class EvaluationItem:
    """What a model is asked in an evaluation: the question, not its context if that is public text."""

    task: str
    id: str
    text: str


class ContaminationSettings(Config):
    """When a document counts as holding an item, and what is removed then."""

    ngram: int = option(
        20,
        ge=5,
        le=200,
        en="Characters in a run",
        ja="比べる文字の並びの長さ",
        help=(
            "punctuation and spaces are not counted; a shorter item must occur as a whole",
            "記号と空白は数えません。これより短い問題文は全体が一致したときに見つかります",
        ),
    )
    shortest: int = option(
        10,
        ge=1,
        en="Characters of an item at least",
        ja="対象にする最短の文字数",
        help=(
            "shorter items are everyday words that would be found everywhere",
            "これより短い問題文は日常の言葉と区別できないため探しません",
        ),
    )
    share: float = option(
        0.8,
        gt=0,
        le=1,
        en="Share of an item's runs",
        ja="一致した並びの割合",
        help=(
            "a document holds an item if it holds at least this share of the item's runs",
            "問題文の並びのうちこの割合以上があれば、その問題を含むとみなします",
        ),
    )
    remove: Literal["document", "passage"] = option(
        "document",
        en="What is removed",
        ja="取り除く範囲",
        help=(
            "document: the document; passage: only the lines that hold the item",
            "document: 文書ごと、passage: 問題文のある行だけ",
        ),
    )


class ItemFile(Config):
    """Where the items of an evaluation are."""

    path: str = option(
        en="Path",
        ja="場所",
        min_length=1,
        help=(
            "JSON Lines, an object a line; also packed (.gz, .bz2, .xz, .zst)",
            "1 行に 1 件の JSON Lines (.gz・.bz2・.xz・.zst も可)",
        ),
    )
    text: str = option(
        "text",
        en="Field of the question",
        ja="問題文の項目",
        min_length=1,
        help=("a text, or a list of texts", "文章、または文章のリスト"),
    )
    task: str = option(
        "",
        en="Task",
        ja="タスク",
        help=("where the lines do not say; else the file's name", "行にないとき。既定はファイル名"),
    )


def read_items(file: ItemFile) -> Iterator[EvaluationItem]:
    """The items of a file, with the `id` and `task` of their lines where given, else the line's number
    and the file's name; one for each text of a list. Raises `DataError` naming the line that is none."""
    path = Path(file.path)
    for number, line in read_lines(path, "", _LONGEST):
        if line is not None and not line.strip():
            continue
        try:
            row = json.loads(line or "")
            found = row[file.text]
            texts = found if isinstance(found, list) else [found]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(
                tr("not an evaluation item", "評価問題として読めません"),
                where=at_line(str(path), number),
                fix=tr(
                    f'each line is an object with the question in "{file.text}"; name another'
                    " field by `text`",
                    f"1 行に 1 つのオブジェクトを書き、問題文は「{file.text}」に入れてください。"
                    "別の項目なら `text` で指定できます",
                ),
            ) from None
        task, name = row.get("task", file.task or path.stem), row.get("id", number)
        for text in texts:
            yield EvaluationItem(str(task), str(name), text)


class Contamination:
    """Finds evaluation items in documents. `too_short` are the items that are not looked for."""

    def __init__(self, items: Iterable[EvaluationItem], settings: ContaminationSettings) -> None:
        self._settings = settings
        wanted = list(items)
        read = compared(pl.Series([item.text for item in wanted], dtype=pl.String), marks=False)
        self.too_short = [
            item
            for item, size in zip(wanted, read.lengths, strict=True)
            if size < settings.shortest
        ]
        self._names = pl.Series([f"{item.task}:{item.id}" for item in wanted], dtype=pl.String)
        grams: dict[int, list[pl.DataFrame]] = {}
        for index, size in enumerate(read.lengths.tolist()):
            if size >= settings.shortest:
                width = min(size, settings.ngram)
                found = np.unique(
                    shingles(read.data, read.starts[index], read.starts[index + 1], width)
                )
                rows = pl.DataFrame({"hash": found}).with_columns(
                    item=pl.lit(index, pl.Int64), weight=pl.lit(1.0 / len(found))
                )
                grams.setdefault(width, []).append(rows)
        self._grams = {width: pl.concat(rows) for width, rows in sorted(grams.items())}

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same documents with `contamination.items` (`TASK:ID` of those found, a list) and
        `contamination.share` (the largest share, 0 if none).

        Those that are to be removed get the `reason` `contamination` if they had none; where passages
        are removed, only documents of which nothing is left.
        """
        hits = self._hits(frame)
        held = (
            hits.unique(["row", "item", "hash"])
            .group_by("row", "item")
            .agg(pl.col("weight").sum().alias("share"))
            .filter(pl.col("share") >= self._settings.share - 1e-9)
            .sort("row", "item")
        )
        found = (
            held.with_columns(self._names.gather(held["item"]).alias("contamination.items"))
            .group_by("row", maintain_order=True)
            .agg("contamination.items", pl.col("share").max().alias("contamination.share"))
        )
        marked = (
            frame.with_row_index("_row")
            .with_columns(pl.col("_row").cast(pl.Int64))
            .join(found, left_on="_row", right_on="row", how="left", maintain_order="left")
            .drop("_row")
            .with_columns(
                pl.col("contamination.items").fill_null([]),
                pl.col("contamination.share").fill_null(0.0),
            )
        )
        removed = pl.col("contamination.share") > 0
        if self._settings.remove == "passage":
            passages = hits.join(held, on=["row", "item"], how="semi")
            marked = marked.with_columns(_without_passages(frame["text"], passages))
            removed &= pl.col("text").str.strip_chars() == ""
            marked = marked.with_columns(
                pl.when(removed).then(frame["text"]).otherwise("text").alias("text"),
                removed.alias("_removed"),
            )
            removed = pl.col("_removed")
        earlier = pl.col("reason") if "reason" in frame.columns else pl.lit(None, pl.String)
        reason = pl.coalesce(earlier, pl.when(removed).then(pl.lit(REASON)))
        return marked.with_columns(reason.alias("reason")).drop("_removed", strict=False)

    def _hits(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Where documents hold runs of items: row, at (in what is compared), width, hash, item, weight."""
        read = compared(frame["text"], marks=False)
        parts: list[pl.DataFrame] = []
        for width, grams in self._grams.items():
            known = np.unique(grams["hash"].to_numpy())
            rows, at, which = find_known(read.data, read.starts, width, known, _table(known))
            some = pl.DataFrame({"row": rows, "at": at, "hash": known[which]})
            parts.append(some.with_columns(width=pl.lit(width, pl.Int64)).join(grams, on="hash"))
        return (
            pl.concat(parts)
            if parts
            else pl.DataFrame(
                schema={
                    "row": pl.Int64,
                    "at": pl.Int64,
                    "hash": pl.UInt64,
                    "width": pl.Int64,
                    "item": pl.Int64,
                    "weight": pl.Float64,
                }
            )
        )


def _table(known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether a known hash has these first bits: what spares most searches."""
    bits = max(1, int(len(known) * _TABLE - 1).bit_length())
    table = np.zeros(1 << bits, np.bool_)
    table[(known >> np.uint64(64 - bits)).astype(np.int64)] = True
    return table


def _without_passages(texts: pl.Series, passages: pl.DataFrame) -> pl.Series:
    """The texts without the lines that the found runs touch."""
    changed: list[str] = texts.to_list()
    for (row,), hits in passages.group_by("row", maintain_order=True):
        lines = changed[row].split("\n")
        ends = np.cumsum(compared(pl.Series(lines), marks=False).lengths)
        first = np.searchsorted(ends, hits["at"].to_numpy(), side="right")
        last = np.searchsorted(ends, (hits["at"] + hits["width"] - 1).to_numpy(), side="right")
        touched = {
            line
            for start, end in zip(first.tolist(), last.tolist(), strict=True)
            for line in range(start, end + 1)
        }
        changed[row] = "\n".join(line for i, line in enumerate(lines) if i not in touched)
    return pl.Series("text", changed, pl.String)
