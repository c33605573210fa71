"""Datasets: checked rows in a folder, as training and evaluation take them.

A dataset's folder holds `rows.jsonl` (a row a line) and `report.json` (findings and statistics).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.files import atomic_file, write_json
from kajiya.core.language import tr
from kajiya.data.check import CheckedData
from kajiya.data.rows import Row
from kajiya.tokenizer.messages import Message, Role

if TYPE_CHECKING:
    from kajiya.store.artifacts import Artifact, ArtifactStore

KIND = "dataset"
ROWS_FILE, REPORT_FILE = "rows.jsonl", "report.json"


@dataclass(frozen=True)
class Dataset:
    """Rows to train on, and the report of the check that they passed."""

    rows: tuple[Row, ...]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def write_dataset(folder: Path, checked: CheckedData) -> Dataset:
    """Write a dataset's files into `folder`. Raises `TableError` if the check found errors."""
    checked.raise_for_errors()
    with atomic_file(folder / ROWS_FILE) as file:
        for row in checked.rows:
            file.write(json.dumps(asdict(row), ensure_ascii=False).encode("utf-8") + b"\n")
    report = checked.report()
    write_json(folder / REPORT_FILE, report)
    return Dataset(checked.rows, report)


def load_dataset(folder: Path) -> Dataset:
    """Read a dataset's folder. Raises `NotFoundError` or `FormatError` naming the file and line."""
    return Dataset(tuple(read_rows(folder)), read_report(folder))


def read_rows(folder: Path, start: int = 0, most: int | None = None) -> Iterator[Row]:
    """At most `most` rows from number `start` (from 0) on, as they are asked for; raises as `load_dataset`."""
    path = folder / ROWS_FILE
    end = None if most is None else start + most
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(islice(file, start, end), start=start + 1):
                try:
                    yield _row(json.loads(line))
                except (ValueError, KeyError, TypeError, RecursionError):
                    raise _damaged(f"{path}:{number}") from None
    except FileNotFoundError as error:
        raise _no_dataset(error) from None
    except UnicodeDecodeError:
        raise _damaged(str(path)) from None


def count_rows(folder: Path) -> int:
    """How many rows there are."""
    try:
        with (folder / ROWS_FILE).open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError as error:
        raise _no_dataset(error) from None


def read_report(folder: Path) -> dict[str, Any]:
    """The report of the check; raises as `load_dataset`."""
    try:
        report: dict[str, Any] = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _no_dataset(error) from None
    except ValueError:  # of Unicode as well
        raise _damaged(str(folder / REPORT_FILE)) from None
    return report


def register_dataset(
    store: ArtifactStore, checked: CheckedData, name: str, source: str
) -> Artifact:
    """Keep checked rows as a dataset artifact. `source` says where the file came from.

    Raises `TableError` if the check found errors, `ConfigError` for a name that cannot be.
    """
    checked.raise_for_errors()
    config = {"source": source, "format": checked.format, "columns": checked.columns.as_dict()}
    with store.draft(KIND, name, config=config) as draft:
        write_dataset(draft.folder, checked)
        draft.details["rows"] = len(checked.rows)
        draft.details["statistics"] = checked.statistics.as_dict()
    return draft.artifact


def _row(values: dict[str, Any]) -> Row:
    messages = tuple(Message(turn["role"], turn["content"]) for turn in values["messages"])
    row = Row(**{**values, "messages": messages})
    texts = [row.id, row.key_fact, row.category, *(message.content for message in messages)]
    roles = {message.role for message in messages}
    if not (
        messages and all(isinstance(text, str) for text in texts) and roles <= set(get_args(Role))
    ):
        raise ValueError
    return row


def _no_dataset(error: FileNotFoundError) -> NotFoundError:
    return NotFoundError(
        tr("this is not a dataset's folder", "データセットのフォルダではありません"),
        where=str(error.filename),
        fix=tr("make one: kajiya data import", "kajiya data import で作成してください"),
    )


def _damaged(where: str) -> FormatError:
    return FormatError(
        tr("the dataset is damaged", "データセットが壊れています"),
        where=where,
        fix=tr("import the original file again", "元のファイルを取り込み直してください"),
    )
