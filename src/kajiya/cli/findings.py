"""How checked data looks in a terminal: a table of findings, a table of sizes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kajiya.core.language import tr

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.data.check import CheckedData
    from kajiya.data.findings import Level
    from kajiya.data.statistics import Distribution

_SHOWN = 50  # findings in the table; --json gives all
_COLOURS = {"error": "bold red", "warning": "yellow", "notice": "cyan"}
# What a terminal could take for a command: a cell must not move the cursor.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_statistics(console: Console, checked: CheckedData) -> None:
    """Rows kept, and their sizes in characters and tokens."""
    from rich.table import Table

    statistics = checked.statistics
    table = Table(
        title=tr(
            f"{statistics.kept:,} of {statistics.rows:,} rows kept",
            f"{statistics.rows:,} 行のうち {statistics.kept:,} 行を使います",
        ),
        title_justify="left",
    )
    table.add_column("")
    for heading in (
        tr("min", "最小"),
        tr("median", "中央"),
        "95 %",
        tr("max", "最大"),
        tr("total", "合計"),
    ):
        table.add_column(heading, justify="right")
    lines: tuple[tuple[str, Distribution | None], ...] = (
        (tr("characters", "文字"), statistics.characters),
        (tr("tokens", "トークン"), statistics.tokens),
        (tr("  read", "  読む"), statistics.prompt_tokens),
        (tr("  learnt", "  学ぶ"), statistics.label_tokens),
    )
    for name, values in lines:
        if values is not None:
            numbers = (values.minimum, values.median, values.p95, values.maximum, values.total)
            table.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(table)


def show_findings(console: Console, checked: CheckedData) -> None:
    """The findings, errors first."""
    from rich.table import Table
    from rich.text import Text

    if not checked.findings:
        console.print(Text(tr("No findings.", "問題は見つかりませんでした。"), "green"))
        return
    names: dict[Level, str] = {
        "error": tr("error", "エラー"),
        "warning": tr("warning", "警告"),
        "notice": tr("notice", "お知らせ"),
    }
    counts = Counter(finding.level for finding in checked.findings)
    summary = ", ".join(f"{names[level]} {counts[level]:,}" for level in names if counts[level])
    table = Table(title=tr("Findings", "点検結果") + f": {summary}", title_justify="left")
    table.add_column("")
    table.add_column(tr("row", "行"), justify="right")
    table.add_column(tr("column", "列"))
    table.add_column(tr("finding", "内容"))
    for finding in sorted(checked.findings, key=lambda f: list(_COLOURS).index(f.level))[:_SHOWN]:
        table.add_row(
            Text(names[finding.level], _COLOURS[finding.level]),
            f"{finding.row:,}" if finding.row else "",
            Text(safe(finding.column)),
            Text(safe(finding.message)),
        )
    console.print(table)
    more = len(checked.findings) - _SHOWN
    if more > 0:
        console.print(
            tr(
                f"… and {more:,} more: --json lists all",
                f"… ほか {more:,} 件。--json で全件を表示します",
            )
        )


def safe(text: str) -> str:
    """`text` without control characters."""
    return _CONTROL.sub("\ufffd", text)


def parse_columns(items: Sequence[str]) -> dict[str, str]:
    """`--column ROLE=NAME`, as often as given; raises `ConfigError` for another form."""
    from kajiya.core.errors import ConfigError

    mapping: dict[str, str] = {}
    for item in items:
        role, equals, name = item.partition("=")
        if not equals:
            raise ConfigError(
                tr(f"{item!r} is not ROLE=NAME", f"{item!r} は「役割=列名」の形ではありません"),
                where="--column",
                fix=tr("for example --column question=設問", "例: --column question=設問"),
            )
        mapping[role] = name
    return mapping
