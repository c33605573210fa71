"""JSON lines (an object a line) and JSON lists of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from kajiya.core.language import tr
from kajiya.data.encoding import rewind
from kajiya.data.problems import TableError, at_line, at_row
from kajiya.data.record import MAX_CELL, MAX_COLUMNS, Record, cell_too_large, too_many_columns

_MAX_LINE = 16_000_000  # characters
_SURROGATE = re.compile("[\ud800-\udfff]")


class _DuplicateKeyError(Exception):
    pass


def read_lines(text: TextIO, where: str) -> Iterator[Record]:
    """The objects of a JSON Lines file; empty lines are passed over.

    Raises `TableError` with the line: json, json_not_object, json_depth, duplicate_key, surrogate,
    columns, cell_too_large, row_too_large.
    """
    rewind(text)
    number = 0
    while line := text.readline(_MAX_LINE + 1):
        number += 1
        place = at_line(where, number)
        if len(line) > _MAX_LINE:
            raise TableError(
                "row_too_large",
                tr(
                    f"a line of more than {_MAX_LINE:,} characters",
                    f"1 行が {_MAX_LINE:,} 文字を超えています",
                ),
                where=place,
                fix=tr("write one object a line", "1 行に 1 件ずつ書いてください"),
            )
        if line.strip():
            yield _record(_parsed(line, place), number, number, place)


def read_list(text: TextIO, where: str) -> Iterator[Record]:
    """The objects of a JSON list. Raises what `read_lines` raises, and json_object for one object."""
    rewind(text)
    value = _parsed(text.read(), where)
    if isinstance(value, dict):
        raise TableError(
            "json_object",
            tr(
                "this is one JSON object; a list of objects or one object a line is needed",
                "JSON のオブジェクト 1 個だけです。オブジェクトのリストか、1 行 1 件の形式が必要です",
            ),
            where=where,
            fix=tr(
                'write [{"question": …, "answer": …}, …], or save as JSON Lines',
                '[{"question": …, "answer": …}, …] と書くか、JSON Lines で保存してください',
            ),
        )
    for number, item in enumerate(value if isinstance(value, list) else [value], start=1):
        yield _record(item, number, 0, at_row(where, number))


def is_lines(text: TextIO) -> bool:
    """Whether a text that begins with `{` holds an object on its first line and more below."""
    rewind(text)
    try:
        json.loads(text.readline(_MAX_LINE))
    except (ValueError, RecursionError):
        return False
    return any(text.readline(_MAX_LINE).strip() for _ in range(3))


def _parsed(text: str, place: str) -> Any:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=str,  # digits stay as they were written
            parse_float=str,
            parse_constant=str,
        )
        if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
            raise TableError(
                "surrogate",
                tr(
                    r"half of a character (\ud800 to \udfff without its other half)",
                    r"不完全な文字 (\ud800~\udfff の片割れ) があります",
                ),
                where=place,
                fix=tr("write the character itself", "元の文字に直してください"),
            )
    except RecursionError:
        raise TableError(
            "json_depth",
            tr("the JSON is nested too deeply", "JSON の入れ子が深すぎます"),
            where=place,
            fix=tr("write flat objects of texts", "入れ子のない形に直してください"),
        ) from None
    except _DuplicateKeyError as error:
        raise TableError(
            "duplicate_key",
            tr(f"the key {error} occurs twice", f"キー {error} が 2 回あります"),
            where=place,
            fix=tr("keep one of them", "1 つだけ残してください"),
        ) from None
    except json.JSONDecodeError as error:
        line = f"{error.lineno}:" if error.lineno > 1 else ""
        raise TableError(
            "json",
            tr(
                f"not valid JSON at {line}{error.colno}: {error.msg}",
                f"{line}{error.colno} 文字目が JSON として正しくありません: {error.msg}",
            ),
            where=place,
            fix=tr(
                "check quotation marks, commas and brackets; each object on a line of its own",
                "引用符・コンマ・括弧を確かめ、1 件を 1 行に書いてください",
            ),
        ) from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(repr(next(key for key in keys if keys.count(key) > 1)))
    return values


def _record(value: Any, row: int, line: int, place: str) -> Record:
    if not isinstance(value, dict):
        raise TableError(
            "json_not_object",
            tr(
                "an object is needed here: " + '{"question": …, "answer": …}',
                "ここにはオブジェクトが必要です: " + '{"question": …, "answer": …}',
            ),
            where=place,
            fix=tr("name the values", "値に名前を付けてください"),
        )
    if len(value) > MAX_COLUMNS:
        raise too_many_columns(len(value), place)
    for cell in value.values():
        if isinstance(cell, str) and len(cell) > MAX_CELL:
            raise cell_too_large(place)
    return Record(row, line, {name.strip(): as_cell(cell) for name, cell in value.items()})


def as_cell(value: Any) -> Any:
    """Text for everything but lists and objects; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n")
    return value if isinstance(value, list | dict) else str(value)
