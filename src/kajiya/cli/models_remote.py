"""`kajiya models remote`: models that somebody else serves, by the names that they have here."""

from __future__ import annotations

import json
from typing import Any

import click

from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.inference.remotes import Remote


@click.group(
    help=tr(
        "Models at OpenAI-compatible endpoints elsewhere; `remote:NAME` serves one, `chat` talks to it.",
        "ほかの場所にある OpenAI 互換 API のモデルを登録します。`remote:NAME` として serve や chat で使えます。",
    )
    + """

\b
Examples:
  kajiya models remote add office --url https://llm.example.com/v1 --model qwen3-8b --key-env OFFICE_KEY
  kajiya models remote list
  kajiya serve company-faq remote:office
"""
)
def remote() -> None:
    pass


@remote.command(
    help=tr(
        "Name a model at an endpoint. Its key stays where it is, in an environment variable or a file.",
        "接続先のモデルに名前を付けます。キーは環境変数かファイルに置いたままで、保存しません。",
    )
    + """

\b
Examples:
  kajiya models remote add office --url https://llm.example.com/v1 --model qwen3-8b --key-env OFFICE_KEY
  kajiya models remote add tunnel --url http://127.0.0.1:8321/v1 --model company-faq --key-file ~/tunnel.key
"""
)
@click.argument("name")
@config_options(Remote)
def add(name: str, overrides: dict[str, Any]) -> None:
    from kajiya.core.workspace import Workspace
    from kajiya.inference.remotes import PREFIX, add_remote

    add_remote(name, Remote.checked(overrides), Workspace.current())
    click.echo(
        tr(
            f"Kept. Next: kajiya chat {PREFIX}{name}",
            f"登録しました。次: kajiya chat {PREFIX}{name}",
        )
    )


@remote.command(
    "list",
    help=tr("List them.", "一覧を表示します。")
    + """

\b
Examples:
  kajiya models remote list
  kajiya models remote list --json
""",
)
@click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
def list_command(as_json: bool) -> None:
    from kajiya.core.workspace import Workspace
    from kajiya.inference.remotes import PREFIX, load_remotes

    remotes = load_remotes(Workspace.current())
    if as_json:
        values = {name: value.model_dump(mode="json") for name, value in remotes.items()}
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    for name, value in remotes.items():
        click.echo(f"{PREFIX}{name}  {value.model}  {value.url}")


@remote.command(
    help=tr("Forget one.", "登録を消します。")
    + """

\b
Examples:
  kajiya models remote rm office
"""
)
@click.argument("name")
def rm(name: str) -> None:
    from kajiya.core.workspace import Workspace
    from kajiya.inference.remotes import remove_remote

    remove_remote(name, Workspace.current())
    click.echo(tr(f"Forgot {name}.", f"{name} の登録を消しました。"))
