"""Tables with a character between cells: CSV and its kin, with a header line.

A row is numbered as a spreadsheet numbers it (the header is row 1), whatever line ends its cells hold.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import TextIO

from kajiya.core.language import tr
from kajiya.data.encoding import rewind
from kajiya.data.problems import TableError, at_row
from kajiya.data.record import MAX_COLUMNS, Record, cell_too_large, header_only, too_many_columns

_MAX_LINE = 16_000_000  # characters; a line is held in memory
_SAMPLE = 65_536
_DELIMITERS = (",", "\t", ";")


class Delimited:
    """An opened table: the names of its columns, and its rows one after another."""

    def __init__(self, text: TextIO, where: str) -> None:
        """Read the header. Raises `TableError`: columns, duplicate_columns, and those of `records`."""
        self._text = text
        self._where = where
        rewind(text)
        self.delimiter = _delimiter(text.read(_SAMPLE))
        rewind(text)
        self._rows = self._parsed()
        self._header_row, _, header = next(self._rows)  # `encoding` made sure that there is text
        self.columns = self._named(header)

    def _named(self, header: list[str]) -> tuple[str, ...]:
        if len(header) > MAX_COLUMNS:
            raise too_many_columns(len(header), self._where)
        names = tuple(name.strip() for name in header)
        for name, count in Counter(name for name in names if name).items():
            if count > 1:
                raise TableError(
                    "duplicate_columns",
                    tr(
                        f"{count} columns are named {name!r}",
                        f"列名「{name}」が {count} 個あります",
                    ),
                    where=at_row(self._where, self._header_row),
                    fix=tr("give each its own name", "別々の名前にしてください"),
                )
        return names

    def records(self) -> Iterator[Record]:
        """The rows; lines with nothing in them are passed over.

        Raises `TableError`: ragged, unclosed_quote, quote, cell_too_large, row_too_large, header_only.
        """
        found = False
        for row, line, cells in self._rows:
            if len(cells) != len(self.columns):
                if not any(cell.strip() for cell in cells):
                    continue
                raise self._ragged(row, line, len(cells))
            found = True
            yield Record(
                row,
                line,
                {name: cell for name, cell in zip(self.columns, cells, strict=True) if name},
            )
        if not found:
            raise header_only(self._where)

    def _parsed(self) -> Iterator[tuple[int, int, list[str]]]:
        """(row, first line, cells) of every row that is not an empty line."""
        reader = csv.reader(self._lines(), delimiter=self.delimiter, strict=True)
        row = 0
        while True:
            row, line = row + 1, reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._unreadable(str(error), row, line) from None
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                yield row, line, [cell.replace("\r\n", "\n").replace("\r", "\n") for cell in cells]

    def _lines(self) -> Iterator[str]:
        number = 0
        while line := self._text.readline(_MAX_LINE + 1):
            number += 1
            if len(line) > _MAX_LINE:
                raise TableError(
                    "row_too_large",
                    tr(
                        f"a line of more than {_MAX_LINE:,} characters",
                        f"1 行が {_MAX_LINE:,} 文字を超えています",
                    ),
                    where=tr(f"{self._where}, line {number}", f"{self._where} の {number} 行目"),
                    fix=tr("is this a table?", "表のファイルかどうか確かめてください"),
                )
            yield line

    def _unreadable(self, reason: str, row: int, line: int) -> TableError:
        where = at_row(self._where, row, line)
        if "field limit" in reason:
            return cell_too_large(where, maybe_unclosed=True)
        if "unexpected end" in reason:
            return TableError(
                "unclosed_quote",
                tr(
                    'a quotation mark (") is opened in this row and never closed',
                    'この行で始まる引用符 (") が閉じられていません',
                ),
                where=where,
                fix=tr(
                    'close it, or write "" for a quotation mark inside a cell',
                    'セルの終わりに " を付けるか、セル内の引用符は "" と書いてください',
                ),
            )
        return TableError(
            "quote",
            tr(
                'text follows a closing quotation mark (")',
                '閉じる引用符 (") のあとに文字が続いています',
            ),
            where=where,
            fix=tr(
                'write "" for a quotation mark inside a quoted cell',
                'セル内の引用符は "" と書いてください',
            ),
        )

    def _ragged(self, row: int, line: int, found: int) -> TableError:
        expected = len(self.columns)
        return TableError(
            "ragged",
            tr(
                f"the header has {expected} columns, this row has {found}",
                f"見出しは {expected} 列ですが、この行は {found} 列です",
            ),
            where=at_row(self._where, row, line),
            fix=tr(
                f"put a cell that contains {self.delimiter!r} in quotation marks, or add what is missing",
                f'区切り文字 {self.delimiter!r} を含むセルは引用符 (") で囲み、足りない列は補ってください',
            ),
        )


def _delimiter(sample: str) -> str:
    """The character that cuts the first rows into the most even table of more than one column."""

    def evenness(delimiter: str) -> tuple[bool, float, int]:
        source = io.StringIO(sample, newline="")
        widths: list[int] = []
        try:
            for cells in csv.reader(source, delimiter=delimiter):
                if cells:
                    widths.append(len(cells))
                if len(widths) > 50:
                    break
        except csv.Error:
            pass  # said with its place when the rows are read
        whole = (widths[:-1] if len(widths) > 1 else widths) or [1]  # the last may be cut off
        return whole[0] > 1, whole.count(whole[0]) / len(whole), whole[0]

    return max(_DELIMITERS, key=evenness)
