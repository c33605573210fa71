"""Checks a whole table before it is trained on: what is wrong with which row, and what remains.

Problems of the file itself are raised; those of rows are collected as findings, and the rows that
teach nothing or harm (empty, repeated, too long) are left out and reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kajiya.core.language import tr
from kajiya.data.columns import Columns, find_columns
from kajiya.data.findings import (
    FORMULA_FORMATS,
    Finding,
    Level,
    formula_findings,
    text_findings,
)
from kajiya.data.problems import TableError, at_row
from kajiya.data.read import DEFAULT_LIMIT, Record, Table, open_table
from kajiya.data.rows import Row, RowError, make_row, normal_form, normal_text
from kajiya.data.statistics import Counter, Statistics
from kajiya.tokenizer.chat import ChatTokenizer

DEFAULT_MAX_TOKENS = 2048
_MANY = 10_000  # findings kept; past that the file as a whole is the problem


@dataclass(frozen=True)
class CheckedData:
    """A checked file: the rows to train on, and everything found on the way."""

    name: str
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    statistics: Statistics
    format: str
    encoding: str
    columns: Columns

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that keep the file from being used."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    def raise_for_errors(self) -> None:
        """Raise `TableError`, with the first error's code and place, if there is any."""
        if not self.errors:
            return
        first = self.errors[0]
        more = len(self.errors) - 1
        others = tr(f" (and {more} more)", f" (ほか {more} 件)") if more else ""
        raise TableError(
            first.code,
            first.message + others,
            where=at_row(self.name, first.row) if first.row else self.name,
            fix=tr(
                "mend the rows; 'kajiya data check' lists them all",
                "該当する行を直してください。一覧は kajiya data check で見られます",
            ),
        )

    def report(self) -> dict[str, Any]:
        """Everything but the rows, for JSON."""
        return {
            "file": self.name,
            "format": self.format,
            "encoding": self.encoding,
            "columns": self.columns.as_dict(),
            "statistics": self.statistics.as_dict(),
            "findings": [asdict(finding) for finding in self.findings],
        }


def check_file(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    limit_bytes: int = DEFAULT_LIMIT,
    tokenizer: ChatTokenizer | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    name: str | None = None,
) -> CheckedData:
    """Read and check a file of questions and answers.

    `columns` maps roles to column names where the names do not tell. With a `tokenizer`, rows of more
    than `max_tokens` tokens are left out; without one, characters are counted and long rows only
    reported. `name` is what people call the file. Raises `TableError` for a file that cannot be read,
    `ConfigError` for a wrong mapping.
    """
    with open_table(path, limit_bytes, name) as table:
        found = find_columns(table.columns, columns, where=table.name)
        check = _Check(table, found, tokenizer, max_tokens)
        for record in table.records:
            check.add(record)
        return check.result()


class _Check:
    """What has been seen so far of one table."""

    def __init__(
        self, table: Table, columns: Columns, tokenizer: ChatTokenizer | None, max_tokens: int
    ) -> None:
        self._table = table
        self._columns = columns
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._rows: list[Row] = []
        self._findings: list[Finding] = []
        self._count = Counter(with_tokens=tokenizer is not None)
        self._seen: dict[str, int] = {}  # a conversation's normal form: its row
        self._answers: dict[str, tuple[str, int]] = {}  # everything before the answer: answer, row
        self._ids: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """Check one record; keep its row if it is worth training on."""
        self._count.rows += 1
        try:
            row = make_row(record, self._columns)
        except RowError as error:
            self._find("error", error.code, record.row, error.column, error.message)
            return
        if self._table.format in FORMULA_FORMATS:
            self._report(formula_findings(record, self._columns))
        if self._is_empty(row) or self._is_repeated(row):
            return
        self._report(text_findings(row, self._columns))
        if self._is_too_long(row):
            return
        self._rows.append(self._with_own_id(row))

    def result(self) -> CheckedData:
        """The rows kept and all findings. A table with nothing left has an error."""
        self._count.kept = len(self._rows)
        if not self._rows and not any(finding.level == "error" for finding in self._findings):
            message = tr("no row is left to train on", "学習に使える行が残りません")
            self._findings.insert(0, Finding("error", "nothing_left", 0, "", message))
        table = self._table
        return CheckedData(
            name=table.name,
            rows=tuple(self._rows),
            findings=tuple(self._findings),
            statistics=self._count.result(),
            format=table.format,
            encoding=table.encoding,
            columns=self._columns,
        )

    def _is_empty(self, row: Row) -> bool:
        silent = [message.role for message in row.messages if not message.content]
        if not silent:
            return False
        if all(not message.content for message in row.messages if message.role != "system"):
            message = tr("the row is blank: left out", "空の行です (学習から除きます)")
            self._find("warning", "blank", row.source_row, "", message)
            return True
        role = "answer" if "assistant" in silent else "question"
        column = self._columns.messages or getattr(self._columns, role) or ""
        message = tr(
            f"the {role} is empty: left out",
            f"{'回答' if role == 'answer' else '質問'}が空です (学習から除きます)",
        )
        self._find("warning", "empty_cell", row.source_row, column, message)
        return True

    def _is_repeated(self, row: Row) -> bool:
        form = repr(normal_form(row.messages))
        first = self._seen.setdefault(form, row.source_row)
        if first != row.source_row:
            message = tr(
                f"the same as row {first}: left out", f"{first} 行目と同じです (学習から除きます)"
            )
            self._find("warning", "duplicate", row.source_row, "", message)
            return True
        asked = repr(normal_form(row.messages[:-1]))
        answer, other = self._answers.setdefault(
            asked, (normal_text(row.messages[-1].content), row.source_row)
        )
        if other != row.source_row and answer != normal_text(row.messages[-1].content):
            column = self._columns.question or self._columns.messages or ""
            message = tr(
                f"the same question as row {other} with another answer",
                f"{other} 行目と同じ質問で、回答が違います",
            )
            self._find("warning", "conflict", row.source_row, column, message)
        return False

    def _is_too_long(self, row: Row) -> bool:
        if self._tokenizer is None:
            length = sum(len(message.content) for message in row.messages)
            self._count.add(row.messages)
            if length > self._max_tokens:
                message = tr(
                    f"{length:,} characters: may not fit in {self._max_tokens:,} tokens",
                    f"{length:,} 文字あり、{self._max_tokens:,} トークンに収まらない可能性があります",
                )
                self._find("warning", "long", row.source_row, "", message)
            return False
        ids, trained = self._tokenizer.encode_training(row.messages)
        if len(ids) > self._max_tokens:
            message = tr(
                f"{len(ids):,} tokens, more than {self._max_tokens:,}: left out",
                f"{len(ids):,} トークンあり、上限 {self._max_tokens:,} を超えます (学習から除きます)",
            )
            self._find("warning", "too_long", row.source_row, "", message)
            return True
        self._count.add(row.messages, len(ids), sum(trained))
        return False

    def _with_own_id(self, row: Row) -> Row:
        times = self._ids.get(row.id, 0) + 1
        self._ids[row.id] = times
        if times == 1:
            return row
        name = f"{row.id}-{times}"
        while name in self._ids:
            name += "x"
        self._ids[name] = 1
        message = tr(
            f"the id {row.id!r} occurs again: now {name!r}",
            f"番号 {row.id!r} が重複しています ({name!r} とします)",
        )
        self._find("warning", "duplicate_id", row.source_row, self._columns.id or "", message)
        return replace(row, id=name)

    def _find(self, level: Level, code: str, row: int, column: str, message: str) -> None:
        self._report([Finding(level, code, row, column, message)])

    def _report(self, findings: list[Finding]) -> None:
        for finding in findings:
            if len(self._findings) < _MANY or finding.level == "error":
                self._findings.append(finding)
            if len(self._findings) > 2 * _MANY:
                raise TableError(
                    "too_many_findings",
                    tr(
                        f"more than {2 * _MANY:,} rows cannot be used",
                        f"使えない行が {2 * _MANY:,} 行を超えました",
                    ),
                    where=self._table.name,
                    fix=self._findings[0].message,
                )
