"""`kajiya keys usage`: the ledger as a table."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from kajiya.server.access.usage import Dimension, Used

_DIMENSIONS: tuple[Dimension, ...] = ("day", "key", "model")
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command(
    help=tr(
        "What was used, by day, key and model: of the key NAME, or of all.",
        "利用量を日、キー、モデルごとに表示します。NAME を省くとすべてのキーについて。",
    )
    + """

\b
Examples:
  kajiya keys usage
  kajiya keys usage wiki-bot --since 2026-11-01 --until 2026-11-30
  kajiya keys usage --by key --json
"""
)
@click.argument("name", required=False)
@click.option("--model", help=tr("Only this model.", "このモデルだけ。"))
@click.option("--since", type=_DAY, help=tr("First day.", "最初の日。"))
@click.option("--until", type=_DAY, help=tr("Last day.", "最後の日。"))
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(_DIMENSIONS),
    help=tr(
        "Add up by these only; may be given several times.",
        "集計の単位。複数回指定できます。",
    ),
)
@click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
def usage(
    name: str | None,
    model: str | None,
    since: datetime | None,
    until: datetime | None,
    by: tuple[Dimension, ...],
    as_json: bool,
) -> None:
    from kajiya.core.workspace import Workspace
    from kajiya.server.access.caller import ADMINISTRATOR
    from kajiya.server.access.gate import open_accounts
    from kajiya.server.access.keyring import Keyring
    from kajiya.server.access.ledger import close_interrupted
    from kajiya.server.access.usage import used

    database = open_accounts(Workspace.current())
    close_interrupted(database)
    keyring = Keyring(database)
    rows = used(
        database,
        by or _DIMENSIONS,
        key=name if name in (None, ADMINISTRATOR) else keyring.get(name).id,
        model=model,
        since=f"{since:%Y-%m-%d}" if since else "",
        until=f"{until:%Y-%m-%d}" if until else "",
    )
    names = {key.id: key.name for key in keyring.list()}
    if as_json:
        listed = [
            {**asdict(row), "name": names.get(row.key, row.key), "total_tokens": row.total_tokens}
            for row in rows
        ]
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))
    elif rows:
        _print(rows, names, by or _DIMENSIONS)
    else:
        click.echo(tr("Nothing was used.", "利用はありません。"))


def _print(rows: list[Used], names: dict[str, str], by: tuple[Dimension, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    titles = {"day": tr("Day", "日"), "key": tr("Key", "キー"), "model": tr("Model", "モデル")}
    table = Table(*(titles[name] for name in by), box=None)
    for title in (
        tr("Requests", "リクエスト"),
        tr("Failed", "失敗"),
        tr("Left", "中断"),
        tr("Cut off", "途絶"),
        tr("Running", "実行中"),
        tr("Tokens in", "入力トークン"),
        tr("Tokens out", "出力トークン"),
    ):
        table.add_column(title, justify="right")
    for row in rows:
        labels = {"day": row.day, "key": names.get(row.key, row.key), "model": row.model}
        counts = (row.requests, row.errors, row.cancelled, row.interrupted, row.running)
        numbers = (*counts, row.prompt_tokens, row.completion_tokens)
        table.add_row(
            *(Text(labels[name]) for name in by),
            *(f"{number:,}" if number else "" for number in numbers),
        )
    Console().print(table)
