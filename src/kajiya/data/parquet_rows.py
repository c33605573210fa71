"""Rows of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from kajiya.core.language import tr
from kajiya.data.json_rows import as_cell
from kajiya.data.problems import TableError, at_row
from kajiya.data.record import MAX_CELL, MAX_COLUMNS, Record, cell_too_large, too_many_columns

MAGIC = b"PAR1"
_BATCH = 64  # rows: a dictionary-encoded file may hold far more text than bytes


class ParquetRows:
    """An opened Parquet file: the names of its columns, and its rows one after another."""

    def __init__(self, file: BinaryIO, where: str, limit_bytes: int) -> None:
        """Read the footer. Raises `TableError`: parquet, columns, duplicate_columns, too_large."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._broken = (pa.ArrowException, OSError, ValueError)
        self._where = where
        self._limit = limit_bytes
        try:
            self._file: Any = pq.ParquetFile(file)
            names = list(self._file.schema_arrow.names)
        except self._broken as error:
            raise self._problem(error) from None
        if len(names) > MAX_COLUMNS:
            raise too_many_columns(len(names), where)
        if len(set(names)) < len(names):
            raise TableError(
                "duplicate_columns",
                tr("two columns have the same name", "同じ名前の列があります"),
                where=where,
                fix=tr("give each its own name", "別々の名前にしてください"),
            )
        self.columns = tuple(name.strip() for name in names)
        self.count = int(self._file.metadata.num_rows)

    def records(self) -> Iterator[Record]:
        """The rows. Raises `TableError`: parquet, cell_too_large, too_large (once unpacked)."""
        row = size = 0
        try:
            for batch in self._file.iter_batches(batch_size=_BATCH, use_threads=False):
                size += batch.nbytes
                if size > 10 * self._limit:
                    raise TableError(
                        "too_large",
                        tr(
                            "unpacked, the file is more than ten times the size limit",
                            "展開すると、大きさが上限の 10 倍を超えます",
                        ),
                        where=self._where,
                        fix=tr(
                            "split it, or raise --limit-mb",
                            "分割するか、--limit-mb で上限を上げてください",
                        ),
                    )
                for values in batch.to_pylist():
                    row += 1
                    yield Record(row, 0, {k.strip(): self._cell(v, row) for k, v in values.items()})
        except self._broken as error:
            raise self._problem(error) from None

    def _cell(self, value: Any, row: int) -> Any:
        if isinstance(value, str) and len(value) > MAX_CELL:
            raise cell_too_large(at_row(self._where, row))
        return as_cell(value)

    def _problem(self, error: Exception) -> TableError:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return TableError(
            "parquet",
            tr(f"not a whole Parquet file: {reason}", f"Parquet として読めません: {reason}"),
            where=self._where,
            fix=tr("copy or write the file again", "コピーまたは書き出しをやり直してください"),
        )
