"""What is wrong with a file of training data, each kind under its own code."""

from __future__ import annotations

from kajiya.core.errors import DataError
from kajiya.core.language import tr


class TableError(DataError):
    """A file that cannot be used. `code` names the kind of problem and never changes with language."""

    def __init__(self, code: str, message: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(message, where=where, fix=fix)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.code, self.message, self.where, self.fix)


def _rebuild(code: str, message: str, where: str, fix: str) -> TableError:
    return TableError(code, message, where=where, fix=fix)


def at_row(name: str, row: int, line: int = 0) -> str:
    """Where in a file: the row as a spreadsheet counts, and the line if it differs."""
    if line in (0, row):
        return tr(f"{name}, row {row}", f"{name} の {row} 行目")
    return tr(f"{name}, row {row} (line {line})", f"{name} の {row} 行目 (テキストの {line} 行目)")


def at_line(name: str, line: int) -> str:
    """Where in a text file."""
    return tr(f"{name}, line {line}", f"{name} の {line} 行目")


def save_as_csv() -> str:
    """What to do with a file of another kind."""
    return tr(
        "open it in the program that made it and save as 'CSV UTF-8'",
        "作成したソフトで開き、「CSV UTF-8」形式で保存してください",
    )
