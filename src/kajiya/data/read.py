"""Opens a table of any supported kind: CSV, TSV, JSON Lines, JSON lists and Parquet.

Says what the file is, in which encoding, which columns it has, and gives its rows; what the columns
mean is `columns`' matter.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from kajiya.data import json_rows
from kajiya.data.delimited import Delimited
from kajiya.data.encoding import detect_encoding, rewind
from kajiya.data.parquet_rows import MAGIC, ParquetRows
from kajiya.data.problems import TableError
from kajiya.data.record import MAX_COLUMNS, Record, header_only, too_many_columns
from kajiya.data.source import DEFAULT_LIMIT, empty, head, open_source, refuse_binary

__all__ = ["DEFAULT_LIMIT", "Record", "Table", "TableError", "open_table"]


@dataclass(frozen=True)
class Table:
    """An open table. `records` can be gone through once, while the file is open."""

    name: str
    format: str
    encoding: str
    columns: tuple[str, ...]
    records: Iterable[Record]


@contextmanager
def open_table(
    path: Path, limit_bytes: int = DEFAULT_LIMIT, name: str | None = None
) -> Iterator[Table]:
    """Open a file of at most `limit_bytes` bytes; `name` is what people call it, if not as the path.

    Raises `TableError`, with a `code` for each kind of problem, here or while `records` are read.
    """
    with open_source(path, limit_bytes) as file:
        where, suffix, start = name or path.name, path.suffix.lower(), head(file)
        refuse_binary(start, where)
        if start.startswith(MAGIC) or suffix == ".parquet":
            yield _parquet(file, where, limit_bytes)
            return
        encoding = detect_encoding(file, where)
        with io.TextIOWrapper(file, encoding=encoding, errors="strict", newline="") as text:
            yield _text_table(text, suffix, where)


def _parquet(file: BinaryIO, where: str, limit_bytes: int) -> Table:
    parquet = ParquetRows(file, where, limit_bytes)
    if parquet.count == 0:
        raise header_only(where)
    return Table(where, "parquet", "", parquet.columns, parquet.records())


def _text_table(text: io.TextIOWrapper, suffix: str, where: str) -> Table:
    kind = _text_format(text, suffix)
    if kind in ("jsonl", "json"):
        reader = json_rows.read_lines if kind == "jsonl" else json_rows.read_list
        records = list(reader(text, where))
        if not records:
            raise empty(where)
        return Table(where, kind, text.encoding, _all_columns(records, where), records)
    table = Delimited(text, where)
    kind = "tsv" if table.delimiter == "\t" else "csv"
    return Table(where, kind, text.encoding, table.columns, table.records())


def _text_format(text: TextIO, suffix: str) -> str:
    """By the file's name where it says so, else by the first character."""
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if suffix in (".csv", ".tsv", ".tab"):
        return "delimited"
    rewind(text)
    first = text.read(4096).lstrip()[:1]
    if first == "{" and json_rows.is_lines(text):
        return "jsonl"
    return "json" if first in ("{", "[") or suffix == ".json" else "delimited"


def _all_columns(records: list[Record], where: str) -> tuple[str, ...]:
    columns = tuple(dict.fromkeys(name for record in records for name in record.values))
    if len(columns) > MAX_COLUMNS:
        raise too_many_columns(len(columns), where)
    return columns
