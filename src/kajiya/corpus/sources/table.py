"""Documents as rows: JSON Lines, CSV, TSV and Parquet files with a column of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.sources.opened import (
    PACKED,
    find_files,
    line_too_long,
    read_lines,
    too_large,
    undecodable,
)
from kajiya.corpus.sources.source import PathSource, Problems, stop
from kajiya.corpus.sources.table_columns import Row, read_csv, read_parquet
from kajiya.data.problems import at_line, at_row

Field = Literal[
    "id", "title", "author", "url", "licence", "collected_at", "language", "domain", "group"
]
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")
_TEXT = (*_LINES, *_DELIMITERS)
SUFFIXES = (*_TEXT, *(suffix + packed for suffix in _TEXT for packed in PACKED), ".parquet")
_LONGEST = 16_000_000  # characters of a line of JSON, and of a text


class TableSource(PathSource):
    """Files of rows, or all in a folder. JSON Lines and CSV may be packed: .gz, .bz2, .xz, .zst."""

    kind: Literal["table"] = option("table", en="Kind of source", ja="情報源の種類")
    text: str = option("text", en="Column of the text", ja="本文の列", min_length=1)
    columns: dict[Field, str] = option(
        dict,
        en="Other columns",
        ja="そのほかの列",
        help=(
            "which column holds id, title, author, url, licence, collected_at, language, domain or"
            " group. Columns with these names are used without being named here, except for the id,"
            " which has to be unique",
            "id・title・author・url・licence・collected_at・language・domain・group の列。同じ名前の列は指定が"
            "なくても使う。ただし id は重複がないことを確かめて指定する",
        ),
    )
    encoding: str = option(
        "",
        en="Encoding",
        ja="文字コード",
        help=(
            "of JSON Lines and CSV: utf-8, utf-16, cp932 or euc_jp; by default as the file begins",
            "JSON Lines と CSV の文字コード (utf-8・utf-16・cp932・euc_jp)。既定は先頭部分から判定",
        ),
        pattern=r"^(utf-8|utf-16|cp932|euc_jp)?$",
    )


def read_table(settings: TableSource, problems: Problems = stop) -> Iterator[Document]:
    """A document a row, its id the file and the row unless the settings name a column for it.

    `problems` is told of rows without text and of what is damaged; a damaged CSV or Parquet file ends
    there, and the next file is read. Raises `NotFoundError` if there is no file.
    """
    for name, path in find_files(Path(settings.path), SUFFIXES, problems):
        try:
            for row, values in _rows(settings, path, problems):
                try:
                    yield _document(settings, name, row, values, str(path))
                except DataError as error:
                    problems(error)
        except DataError as error:
            problems(error)


def _rows(settings: TableSource, path: Path, problems: Problems) -> Iterator[Row]:
    suffix = Path(path.stem if path.suffix.lower() in PACKED else path.name).suffix.lower()

    def choose(names: list[str]) -> list[str]:
        for column in (settings.text, *settings.columns.values()):
            if column not in names:
                raise _no_column(column, names, str(path))
        fields = {*get_args(Field), "license", settings.text, *settings.columns.values()}
        return [name for name in names if name in fields]

    if suffix == ".parquet":
        return read_parquet(path, choose)
    if suffix in _DELIMITERS:
        return read_csv(path, _DELIMITERS[suffix], settings.encoding, choose, problems)
    return _json_lines(path, settings.encoding, problems)


def _json_lines(path: Path, encoding: str, problems: Problems) -> Iterator[Row]:
    for number, line in read_lines(path, encoding, _LONGEST):
        where = at_line(str(path), number)
        if line is None:
            problems(line_too_long(where, _LONGEST))
        elif line.strip():
            try:
                line.encode()
                yield number, _object(line)
            except UnicodeEncodeError:
                problems(undecodable(where, encoding))
            except (ValueError, RecursionError) as error:
                problems(_no_object(str(error), where))


def _object(line: str) -> dict[str, Any]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError(tr("a list or a single value", "リストか単独の値です"))
    return value


def _document(
    settings: TableSource, name: str, row: int, values: Mapping[str, Any], path: str
) -> Document:
    text = values.get(settings.text)
    if not isinstance(text, str):
        raise DataError(
            tr(f'there is no text in "{settings.text}"', f"「{settings.text}」に文章がありません"),
            where=at_row(path, row),
            fix=tr("name the column by `text`", "`text` で列を指定してください"),
        )
    if len(text) > _LONGEST:
        raise too_large(at_row(path, row), _LONGEST)
    given: dict[Field, str] = {}
    for field in get_args(Field):
        column = settings.columns.get(field, "" if field == "id" else field)
        value = values.get(column)
        if value is None and field == "licence" and field not in settings.columns:
            value = values.get("license")
        if isinstance(value, str | int | float):
            given[field] = str(value).strip()
    return settings.document(
        given.get("id") or f"{name}:{row}",
        text,
        **{field: value for field, value in given.items() if field != "id"},
    )


def _no_object(reason: str, where: str) -> DataError:
    return DataError(
        tr(
            f"each line has to be an object in JSON: {reason}",
            f"各行は JSON のオブジェクトでなければなりません: {reason}",
        ),
        where=where,
        fix=tr("write this line again", "この行を書き直してください"),
    )


def _no_column(column: str, names: list[str], where: str) -> DataError:
    shown = ", ".join(repr(name[:40]) for name in names[:20])
    return DataError(
        tr(
            f"there is no column {column!r}; the columns are: {shown}",
            f"列「{column}」がありません。列: {shown}",
        ),
        where=where,
        fix=tr("say which by `text` and `columns`", "`text` と `columns` で列を指定してください"),
    )
