"""Rows of CSV and Parquet files, some columns of them, by Arrow: as a stream, however large a file is."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.sources.opened import guess_encoding, opened, read_lines, undecodable
from kajiya.corpus.sources.source import Problems
from kajiya.data.problems import at_line, at_row
from kajiya.data.record import MAX_COLUMNS, too_many_columns

Row = tuple[int, dict[str, Any]]
Choose = Callable[[list[str]], list[str]]
"""From the names of all columns those to read."""

_BLOCK = (
    32 << 20
)  # bytes of CSV parsed at once: a longer row is damage, such as an open quotation mark
_HEADER = 1_000_000  # characters
_ROWS = 64  # of Parquet at once: where values repeat, a small file may hold much text


def read_csv(
    path: Path, delimiter: str, encoding: str, choose: Choose, problems: Problems
) -> Iterator[Row]:
    """(row as a spreadsheet counts, cells by column) of a file with a header; blank lines do not count.

    `problems` is told of rows with too many or too few cells and of cells that are no text. Raises
    `DataError` where the rest of the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.csv as arrow

    encoding = encoding or guess_encoding(path)
    chosen = choose(_header(path, delimiter, encoding))
    invalid: set[int] = set()

    def skip(row: Any) -> str:
        invalid.add(row.number)
        problems(_ragged(path, row.number, row.expected_columns, row.actual_columns))
        return "skip"

    number = 1
    try:
        with (
            opened(path) as file,
            arrow.open_csv(
                file,
                read_options=arrow.ReadOptions(
                    use_threads=False, block_size=_BLOCK, encoding=encoding
                ),
                parse_options=arrow.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=arrow.ConvertOptions(
                    include_columns=chosen,
                    column_types=dict.fromkeys(chosen, pa.binary()),
                    check_utf8=False,
                ),
            ) as reader,
        ):
            for batch in reader:
                for cells in batch.to_pylist():
                    number += 1
                    while number in invalid:
                        number += 1
                    try:
                        yield number, {name: cell.decode() for name, cell in cells.items()}
                    except UnicodeDecodeError:
                        problems(undecodable(at_row(str(path), number), encoding))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _damaged("CSV", str(error), at_row(str(path), number + 1)) from None


def read_parquet(path: Path, choose: Choose) -> Iterator[Row]:
    """(row from 1, values by column). Raises `DataError` where the rest cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            chosen = choose(file.schema_arrow.names)
            for batch in file.iter_batches(_ROWS, columns=chosen, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield number, values
    except (pa.ArrowException, OSError) as error:
        raise _damaged("Parquet", str(error), at_row(str(path), number + 1)) from None


def _header(path: Path, delimiter: str, encoding: str) -> list[str]:
    lines = (line or "" for _, line in read_lines(path, encoding, _HEADER))
    try:
        names = next(csv.reader(lines, delimiter=delimiter), [])
    except csv.Error as error:
        raise _damaged("CSV", str(error), at_line(str(path), 1)) from None
    if len(names) > MAX_COLUMNS:
        raise too_many_columns(len(names), str(path))
    return names


def _ragged(path: Path, row: int, expected: int, found: int) -> DataError:
    return DataError(
        tr(
            f"the header has {expected} columns, this row has {found}",
            f"見出しは {expected} 列ですが、この行は {found} 列です",
        ),
        where=at_row(str(path), row),
        fix=tr(
            "put cells that hold the delimiter in quotation marks",
            '区切り文字を含むセルは引用符 (") で囲んでください',
        ),
    )


def _damaged(kind: str, reason: str, where: str) -> DataError:
    reason = reason.splitlines()[0][:200] if reason else kind
    return DataError(
        tr(
            f"not a whole {kind} file, reading stops here: {reason}",
            f"{kind} として読めないため、ここで中断します: {reason}",
        ),
        where=where,
        fix=tr(
            "check quotation marks there, or write the file again",
            "その行の引用符を確かめるか、ファイルを書き出し直してください",
        ),
    )
