"""`kajiya preferences`: what people thought of answers in the console, to look at and to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from kajiya.server.chats.preference_export import Form
    from kajiya.server.chats.preferences import Preferences
    from kajiya.store.database import Database

_FORMS = ("pairs", "ratings", "corrections", "table")  # of `preference_export`, which loads much


@click.group(
    help=tr(
        "Comparisons, thumbs and corrections that people gave in the console's chat.",
        "コンソールの会話で付けられた比較、評価、修正を扱います。",
    )
    + """

\b
Examples:
  kajiya preferences list
  kajiya preferences export corrections -o corrections.jsonl
"""
)
def preferences() -> None:
    pass


@preferences.command(
    "list",
    help=tr("Show the newest ones, and how many there are.", "新しいものと件数を表示します。")
    + """

\b
Examples:
  kajiya preferences list
  kajiya preferences list --limit 100
""",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help=tr("How many to show.", "表示する件数。"),
)
def list_preferences(limit: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    database = _database()
    kept, people = _preferences(database), _people(database)
    found = kept.list(limit=limit)
    if not found:
        click.echo(
            tr(
                "None yet. People rate answers in the chat of kajiya console.",
                "まだありません。kajiya console の会話のページで、回答に評価を付けられます。",
            )
        )
        return
    titles = (tr("When", "日時"), tr("Who", "だれが"), tr("What", "種類"), tr("Question", "質問"))
    table = Table(*titles, tr("Answer", "回答"), box=None)
    for each in found:
        question = each.prompt[-1]["content"] if each.prompt else ""
        table.add_row(
            each.created_at[:16].replace("T", " "),
            Text(people.get(each.user_id, each.user_id)),
            f"{each.kind} {each.verdict}".strip(),
            Text(_short(question)),
            Text(_short(each.answer)),
        )
    Console().print(table)
    counts = ", ".join(f"{kind}: {count}" for kind, count in sorted(kept.counts().items()))
    click.echo(f"\n{counts}")


@preferences.command(
    help=tr(
        "Write them as data: pairs (DPO and others), ratings (KTO), corrections (tuning) or a table (CSV).",
        "データとして書き出します。pairs (DPO など)、ratings (KTO)、corrections (調整)、table (CSV)。",
    )
    + """

\b
Examples:
  kajiya preferences export pairs -o pairs.jsonl
  kajiya preferences export corrections > corrections.jsonl
""",
)
@click.argument("form", type=click.Choice(_FORMS))
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help=tr("A file instead of the terminal.", "書き込むファイル。省略すると画面に出力します。"),
)
def export(form: str, output: Path | None) -> None:
    from kajiya.core.files import write_text
    from kajiya.server.chats.preference_export import export as lines

    database = _database()
    found = _preferences(database).list()
    text = "".join(lines(found, cast("Form", form), _people(database)))
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)


def _database() -> Database:
    from kajiya.core.workspace import Workspace
    from kajiya.server.access.gate import open_accounts

    return open_accounts(Workspace.current())


def _preferences(database: Database) -> Preferences:
    from kajiya.server.chats.conversations import Conversations
    from kajiya.server.chats.preferences import Preferences

    return Preferences(database, Conversations(database))


def _people(database: Database) -> dict[str, str]:
    from kajiya.server.access.users import People

    return {user.id: user.name for user in People(database).list()}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:39]}…"
