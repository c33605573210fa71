"""`kajiya data`: check a file of questions and answers, and keep it as a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.findings import parse_columns, safe, show_findings, show_statistics
from kajiya.core.language import tr

if TYPE_CHECKING:
    from rich.text import Text

    from kajiya.data.check import CheckedData
    from kajiya.tokenizer.chat import ChatTokenizer


def _file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take: the file, and how to read it."""
    for decorate in reversed(
        (
            click.argument("file", type=click.Path(path_type=Path)),
            click.option(
                "--model",
                metavar="REF",
                help=tr(
                    "Count tokens and render turns as this model does (a name or a folder).",
                    "このモデル (名前かフォルダ) に合わせてトークンを数え、会話を組み立てます。",
                ),
            ),
            click.option(
                "--column",
                "columns",
                multiple=True,
                metavar="ROLE=NAME",
                help=tr(
                    "Which column is the question, answer, input, system, messages, id, key_fact or category.",
                    "列の役割を指定します (question, answer, input, system, messages, id, key_fact, category)。",
                ),
            ),
            click.option(
                "--limit-mb",
                type=click.FloatRange(min=0, min_open=True),
                default=200.0,
                show_default=True,
                help=tr("Largest file read, in megabytes.", "読み込むファイルの上限 (MB)。"),
            ),
            click.option(
                "--max-tokens",
                type=click.IntRange(min=1),
                default=2048,
                show_default=True,
                help=tr("Rows longer than this are left out.", "これより長い行は除きます。"),
            ),
        )
    ):
        function = decorate(function)
    return function


@click.group(
    help=tr(
        """Check and register data.

\b
Examples:
  kajiya data check faq.csv
  kajiya data import faq.csv --name faq""",
        """データの点検と登録。

\b
Examples:
  kajiya data check faq.csv
  kajiya data import faq.csv --name faq""",
    )
)
def data() -> None:
    pass


@data.command(
    help=tr(
        """Check a file of questions and answers: CSV, TSV, JSON Lines or Parquet.

Shows what is wrong by row and column, what the model will be shown (with --model, the text that
it learns to write in green), and how long the rows are. Exit status 1 if the file cannot be used.

\b
Examples:
  kajiya data check faq.csv --model starter:gemma-3-270m
  kajiya data check survey.tsv --column question=設問 --column answer=模範回答""",
        """質問と回答のファイル (CSV・TSV・JSON Lines・Parquet) を点検します。

問題のある行と列、モデルに見せる文章 (--model を付けると、学習する部分が緑色)、行の長さを表示します。
使えないファイルのときは終了コード 1 になります。

\b
Examples:
  kajiya data check faq.csv --model starter:gemma-3-270m
  kajiya data check survey.tsv --column question=設問 --column answer=模範回答""",
    )
)
@_file_options
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help=tr("Rows shown as turns.", "会話として表示する行数。"),
)
@click.option("--json", "as_json", is_flag=True, help=tr("Print JSON.", "JSON で出力します。"))
def check(
    file: Path,
    model: str | None,
    columns: tuple[str, ...],
    limit_mb: float,
    max_tokens: int,
    rows: int,
    as_json: bool,
) -> None:
    from kajiya.core.errors import KajiyaError

    try:
        checked, tokenizer = _check(file, model, columns, limit_mb, max_tokens)
    except KajiyaError as error:
        if not as_json:
            raise
        click.echo(
            json.dumps({"ok": False, "error": error.as_dict()}, ensure_ascii=False, indent=2)
        )
        raise click.exceptions.Exit(1) from None
    if as_json:
        click.echo(json.dumps(_as_json(checked, rows), ensure_ascii=False, indent=2))
    else:
        _show(checked, tokenizer, rows)
    if checked.errors:
        raise click.exceptions.Exit(1)


@data.command(
    name="import",
    help=tr(
        """Check a file and keep its rows as a dataset, a new version under a name.

\b
Examples:
  kajiya data import faq.csv --name faq
  kajiya data import chats.jsonl --name chats --model starter:gemma-3-270m --max-tokens 1024""",
        """ファイルを点検し、名前を付けてデータセットの新しい版として登録します。

\b
Examples:
  kajiya data import faq.csv --name faq
  kajiya data import chats.jsonl --name chats --model starter:gemma-3-270m --max-tokens 1024""",
    ),
)
@_file_options
@click.option("--name", required=True, help=tr("The dataset's name.", "データセットの名前。"))
def import_(
    file: Path,
    model: str | None,
    columns: tuple[str, ...],
    limit_mb: float,
    max_tokens: int,
    name: str,
) -> None:
    from rich.console import Console

    from kajiya.core.files import check_name
    from kajiya.core.workspace import Workspace
    from kajiya.data.dataset import register_dataset
    from kajiya.store.artifacts import ArtifactStore

    check_name(name)
    checked, _ = _check(file, model, columns, limit_mb, max_tokens)
    checked.raise_for_errors()
    console = Console()
    show_findings(console, checked)
    artifact = register_dataset(ArtifactStore(Workspace.current()), checked, name, file.name)
    kept, total = checked.statistics.kept, checked.statistics.rows
    console.print(
        tr(
            f"{artifact.reference}: {kept:,} of {total:,} rows kept",
            f"{artifact.reference}: {total:,} 行のうち {kept:,} 行を登録しました",
        ),
        markup=False,
    )


def _check(
    file: Path, model: str | None, columns: tuple[str, ...], limit_mb: float, max_tokens: int
) -> tuple[CheckedData, ChatTokenizer | None]:
    from kajiya.data.check import check_file
    from kajiya.data.source import MEGABYTE

    tokenizer = _tokenizer(model) if model else None
    checked = check_file(
        file,
        columns=parse_columns(columns),
        limit_bytes=int(limit_mb * MEGABYTE),
        tokenizer=tokenizer,
        max_tokens=max_tokens,
    )
    return checked, tokenizer


def _tokenizer(reference: str) -> ChatTokenizer:
    from kajiya.core.workspace import Workspace
    from kajiya.models.resolve import resolve_folder
    from kajiya.tokenizer.chat import ChatTokenizer

    return ChatTokenizer.load(resolve_folder(reference, Workspace.current()))


def _as_json(checked: CheckedData, rows: int) -> dict[str, Any]:
    from dataclasses import asdict

    preview = [asdict(row) for row in checked.rows[:rows]]
    return {"ok": not checked.errors, **checked.report(), "preview": preview}


def _show(checked: CheckedData, tokenizer: ChatTokenizer | None, rows: int) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    roles = ", ".join(f"{role} ← {name}" for role, name in checked.columns.as_dict().items())
    console.print(Text(f"{checked.name}: {checked.format} {checked.encoding}\n{roles}"))
    for row in checked.rows[:rows]:
        title = tr(f"row {row.source_row} ({row.id})", f"{row.source_row} 行目 ({row.id})")
        console.rule(Text(title), align="left", style="dim")
        if tokenizer is None:
            for message in row.messages:
                console.print(Text(f"{message.role}: ", "bold") + Text(safe(message.content)))
        else:
            console.print(_rendered(tokenizer, row.messages, console.color_system is None))
    if tokenizer is not None and rows:
        console.print(
            Text(
                tr(
                    "green, or between ⟦ and ⟧: what the model learns to write",
                    "緑色、または ⟦ と ⟧ の間: モデルが書くことを学ぶ部分",
                ),
                "dim",
            )
        )
    show_statistics(console, checked)
    show_findings(console, checked)


def _rendered(tokenizer: ChatTokenizer, messages: Any, colourless: bool) -> Text:
    """A conversation as the model reads it, special tokens included."""
    from rich.text import Text

    text = Text()
    trained = False
    for piece in tokenizer.render(messages, add_generation_prompt=False):
        if colourless and piece.trained != trained:
            text.append("⟦" if piece.trained else "⟧")
        trained = piece.trained
        style = "green" if trained else "dim"
        text.append(safe(piece.text), f"bold {style}" if piece.trusted else style)
    if colourless and trained:
        text.append("⟧")
    text.rstrip()
    return text
