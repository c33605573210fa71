"""One row of a table as its file has it, and the limits that hold for every kind of file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kajiya.core.language import tr
from kajiya.data.problems import TableError

MAX_COLUMNS = 1_000
MAX_CELL = 131_072  # characters, the limit of Python's csv reader: longer than any model's context


@dataclass(frozen=True)
class Record:
    """Cells by column name. `row` counts as a spreadsheet does (or lines, or items of a list); `line`
    is where the row begins in a text file, 0 elsewhere. Cells are text, or the lists and objects of
    JSON and Parquet."""

    row: int
    line: int
    values: dict[str, Any]


def too_many_columns(count: int, where: str) -> TableError:
    return TableError(
        "columns",
        tr(
            f"{count:,} columns; at most {MAX_COLUMNS:,} are read",
            f"{count:,} 列あります (上限は {MAX_COLUMNS:,} 列)",
        ),
        where=where,
        fix=tr(
            "is each row on a line of its own? Keep only the columns needed",
            "1 件が 1 行になっているか確かめ、必要な列だけにしてください",
        ),
    )


def cell_too_large(where: str, maybe_unclosed: bool = False) -> TableError:
    fix = tr("shorten or split it", "短くするか、分割してください")
    if maybe_unclosed:
        fix = tr(
            'shorten it, or close the quotation mark (") that makes one cell of many lines',
            '短くするか、閉じ忘れの引用符 (") がないか確かめてください',
        )
    return TableError(
        "cell_too_large",
        tr(
            f"a cell of more than {MAX_CELL:,} characters",
            f"1 つのセルが {MAX_CELL:,} 文字を超えています",
        ),
        where=where,
        fix=fix,
    )


def header_only(where: str) -> TableError:
    return TableError(
        "header_only",
        tr("there is a header and no row below it", "見出しだけで、データの行がありません"),
        where=where,
        fix=tr("add rows of questions and answers", "質問と回答の行を加えてください"),
    )
