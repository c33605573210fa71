"""What can be said of a single row's texts: broken characters, odd answers, formulas."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from kajiya.core.language import tr
from kajiya.data.columns import Columns
from kajiya.data.record import Record
from kajiya.data.rows import Row, normal_text

Level = Literal["error", "warning", "notice"]
FORMULA_FORMATS = ("csv", "tsv")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MISREAD = re.compile(r"[縺繧繝譁蜿荳莉]")  # how the first bytes of UTF-8 Japanese look in CP932
_MISREAD_LATIN = re.compile(r"(?:ã[\x80-\xbf€-™]|Ã.|â€.)")
_SHORT = 2


@dataclass(frozen=True)
class Finding:
    """Something about a file. `row` is 0 and `column` empty where it is about all of them.

    Errors stop; warnings change what is trained on or should be looked at; notices inform.
    """

    level: Level
    code: str
    row: int
    column: str
    message: str


def formula_findings(record: Record, columns: Columns) -> list[Finding]:
    """Cells that a spreadsheet would run: they are read as the text they are."""
    used = columns.as_dict().values()
    return [
        Finding(
            "notice",
            "formula",
            record.row,
            column,
            tr(
                f"looks like a formula ({value.strip()[:20]!r}); read as text",
                f"数式のように見えます ({value.strip()[:20]!r})。文字として読みます",
            ),
        )
        for column in used
        if isinstance(value := record.values.get(column, ""), str)
        and value.lstrip().startswith(("=", "+", "@"))
    ]


def text_findings(row: Row, columns: Columns) -> list[Finding]:
    """Suspicious texts of one row."""
    found: list[Finding] = []

    def find(level: Level, code: str, column: str | None, message: str) -> None:
        finding = Finding(level, code, row.source_row, columns.messages or column or "", message)
        if finding not in found:
            found.append(finding)

    for message in row.messages:
        text = message.content
        column = columns.answer if message.role == "assistant" else columns.question
        column = columns.system if message.role == "system" else column
        if match := _CONTROL.search(text):
            code = f"U+{ord(match[0]):04X}"
            find(
                "warning",
                "control",
                column,
                tr(f"holds a control character ({code})", f"制御文字 ({code}) があります"),
            )
        if "\ufffd" in text:
            find(
                "warning",
                "replacement",
                column,
                tr(
                    "holds U+FFFD: a character was lost when the file was made",
                    "U+FFFD があります。ファイル作成時に文字が失われています",
                ),
            )
        elif _is_misread(text):
            find(
                "warning",
                "mojibake",
                column,
                tr(
                    f"looks misread (mojibake): {text[:20]!r}",
                    f"文字化けのようです: {text[:20]!r}",
                ),
            )
    answer = row.messages[-1].content
    if len(answer) < _SHORT:
        find(
            "notice",
            "short_answer",
            columns.answer,
            tr(f"the answer is very short: {answer!r}", f"回答がとても短いです: {answer!r}"),
        )
    if row.key_fact and _squeezed(row.key_fact) not in _squeezed(answer):
        fact = row.key_fact[:40]
        found.append(
            Finding(
                "warning",
                "key_fact",
                row.source_row,
                columns.key_fact or "",
                tr(
                    f"the answer does not contain the key fact {fact!r}",
                    f"要点「{fact}」が回答に含まれていません",
                ),
            )
        )
    return found


def _squeezed(text: str) -> str:
    return normal_text(text).replace(" ", "").casefold()


def _is_misread(text: str) -> bool:
    """UTF-8 that was read as CP932 or as Latin-1 somewhere on the way."""
    for pattern in (_MISREAD, _MISREAD_LATIN):
        hits = len(pattern.findall(text))
        if hits >= 2 and hits * 8 >= len(text):
            return True
    return False
