"""`kajiya console`: everything in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from kajiya.core.workspace import Workspace


@click.command(
    help=tr(
        """Open Kajiya in a browser: pages for training, chatting and serving, and the API on the same port.

The first start shows an address with a token that is good once, for making the administrator.
Ctrl-C stops the server; training goes on.

\b
Examples:
  kajiya console
  kajiya console --port 9000
  kajiya console --reset-password sato
""",
        """ブラウザーで使う画面を開きます。学習・会話・公開の各ページと API を、同じポートで提供します。

初回は、管理者を登録するための 1 回だけ使えるアドレスを表示します。
Ctrl-C で止まります。学習中のジョブは止まりません。

\b
Examples:
  kajiya console
  kajiya console --port 9000
  kajiya console --reset-password sato
""",
    )
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8321,
    show_default=True,
    help=tr("Port; 0 picks a free one.", "ポート。0 なら空いているものを選びます。"),
)
@click.option(
    "--reset-password",
    metavar="USER",
    help=tr(
        "Give a user another password instead, and sign all his browsers out.",
        "起動する代わりに、ユーザーのパスワードを設定し直し、すべての端末からサインアウトさせます。",
    ),
)
def console(port: int, reset_password: str | None) -> None:
    from kajiya.core.workspace import Workspace

    workspace = Workspace.current()
    if reset_password is not None:
        _reset(workspace, reset_password)
        return

    from kajiya.server.console.run import run_console
    from kajiya.server.settings import ServerSettings

    run_console(workspace, ServerSettings(port=port), on_ready=_announce)


def _announce(url: str) -> None:
    click.echo(tr("Open this address in a browser:", "ブラウザーで次のアドレスを開いてください:"))
    click.echo(f"\n  {url}\n")
    click.echo(
        tr(
            "Ctrl-C stops the server; training goes on.",
            "Ctrl-C で止まります。学習中のジョブは止まりません。",
        )
    )


def _reset(workspace: Workspace, name: str) -> None:
    from kajiya.server.access.audit import Audit
    from kajiya.server.access.gate import open_accounts
    from kajiya.server.access.users import People

    database = open_accounts(workspace)
    people = People(database)
    user = people.get(name)
    password = click.prompt(
        tr("New password", "新しいパスワード"), hide_input=True, confirmation_prompt=True
    )
    people.set_password(user.id, password)
    Audit(database).add(tr("(terminal)", "(ターミナル)"), "password.reset", user.name)
    click.echo(tr(f"{user.name} has a new password.", f"{user.name} のパスワードを変更しました。"))
