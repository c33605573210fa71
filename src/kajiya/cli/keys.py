"""`kajiya keys`: keys of the server for people and applications, and what they used."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from kajiya.cli import keys_usage
from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.server.access.caller import KeySettings

if TYPE_CHECKING:
    from kajiya.server.access.keyring import Key
    from kajiya.store.database import Database

_JSON = click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
_LIMITS = ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget")
_DURATION = click.option(
    "--duration",
    help=tr(
        "How long it works: 12h, 90d, 52w. For ever, if not given.",
        "有効な期間: 12h、90d、52w など。省略すると無期限。",
    ),
)


@click.group(
    help=tr(
        "Keys of the server. NAME is a key's name or id.",
        "サーバーのキーを扱います。NAME はキーの名前か ID です。",
    )
    + """

\b
Examples:
  kajiya keys create wiki-bot --owner soumu --models "company-*" --rpm-limit 30
  kajiya keys list
  kajiya keys usage --since 2026-11-01
"""
)
def keys() -> None:
    pass


keys.add_command(keys_usage.usage)


def _database() -> Database:
    from kajiya.core.workspace import Workspace
    from kajiya.server.access.gate import open_accounts

    return open_accounts(Workspace.current())


@keys.command(
    help=tr(
        "Make a key. It is shown once and cannot be read again.",
        "キーを作ります。表示されるのは一度だけで、あとから読み出せません。",
    )
    + """

\b
Examples:
  kajiya keys create wiki-bot
  kajiya keys create tanaka --owner tanaka --models company-faq,company-legal --duration 90d
  kajiya keys create trial --rpm-limit 10 --tpm-limit 20000 --max-parallel-requests 2 --max-budget 1000000
"""
)
@click.argument("name")
@config_options(KeySettings)
@_DURATION
@_JSON
def create(name: str, overrides: dict[str, Any], duration: str | None, as_json: bool) -> None:
    from kajiya.server.access.keyring import Keyring

    settings = KeySettings.checked(overrides)
    _show_secret(*Keyring(_database()).create(name, settings, duration), as_json)


@keys.command(
    "list",
    help=tr("List all keys.", "すべてのキーを一覧にします。")
    + """

\b
Examples:
  kajiya keys list
  kajiya keys list --json
""",
)
@_JSON
def list_keys(as_json: bool) -> None:
    from kajiya.server.access.keyring import Keyring
    from kajiya.server.access.usage import last_days

    database = _database()
    found, used = Keyring(database).list(), last_days(database)
    if as_json:
        _echo_json([_as_dict(key, used.get(key.id)) for key in found])
        return
    if not found:
        click.echo(
            tr(
                "None yet. To make one: kajiya keys create NAME",
                "まだありません。作るには: kajiya keys create NAME",
            )
        )
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        tr("Name", "名前"),
        tr("Owner", "所有者"),
        tr("Key", "キー"),
        tr("State", "状態"),
        tr("Models", "モデル"),
        tr("Expires", "期限"),
        tr("Last used", "最後の利用"),
        box=None,
    )
    for key in found:
        table.add_row(
            Text(key.name),
            Text(key.settings.owner),
            f"{key.prefix}…",
            Text(_state(key), style="green" if _active(key) else "red"),
            Text(", ".join(key.settings.models) or tr("all", "すべて")),
            _day(key.expires_at),
            used.get(key.id, ""),
        )
    Console().print(table)


@keys.command(
    help=tr(
        "Show what a key allows and when it was made and used.",
        "キーの権限、上限、作成日、利用状況を表示します。",
    )
    + """

\b
Examples:
  kajiya keys show wiki-bot
"""
)
@click.argument("name")
@_JSON
def show(name: str, as_json: bool) -> None:
    from kajiya.server.access.keyring import Keyring
    from kajiya.server.access.usage import last_days

    database = _database()
    key = Keyring(database).get(name)
    last = last_days(database).get(key.id)
    if as_json:
        _echo_json(_as_dict(key, last))
    else:
        _print_key(key, last)


@keys.command(
    help=tr(
        "Change what a key allows; what is not given stays. It need not be handed out again.",
        "キーの権限や上限を変えます。指定しないものはそのままで、キー自体は変わりません。",
    )
    + """

\b
Examples:
  kajiya keys change wiki-bot --rpm-limit 60
  kajiya keys change wiki-bot --no-limit max_budget --models ""
"""
)
@click.argument("name")
@config_options(KeySettings)
@click.option(
    "--no-limit",
    "lifted",
    multiple=True,
    type=click.Choice(_LIMITS),
    help=tr("Lift this limit.", "この上限をなくします。"),
)
def change(name: str, overrides: dict[str, Any], lifted: tuple[str, ...]) -> None:
    from kajiya.server.access.keyring import Keyring

    values = overrides | dict.fromkeys(lifted)
    _print_key(Keyring(_database()).change(name, values), None)


@keys.command(
    help=tr(
        "Give a key a new secret; the old one stops working at once.",
        "キーを新しくします。古いキーはすぐに使えなくなります。",
    )
    + """

\b
Examples:
  kajiya keys rotate wiki-bot
  kajiya keys rotate wiki-bot --duration 90d
"""
)
@click.argument("name")
@_DURATION
@_JSON
def rotate(name: str, duration: str | None, as_json: bool) -> None:
    from kajiya.server.access.keyring import Keyring

    _show_secret(*Keyring(_database()).rotate(name, duration), as_json)


@keys.command(
    help=tr(
        "Stop a key from working, for good. What it used stays in the books.",
        "キーを失効させます。元には戻せません。利用の記録は残ります。",
    )
    + """

\b
Examples:
  kajiya keys revoke wiki-bot
  kajiya keys revoke wiki-bot --yes
"""
)
@click.argument("name")
@click.option("--yes", is_flag=True, help=tr("Do not ask.", "確認せずに失効させます。"))
def revoke(name: str, yes: bool) -> None:
    from kajiya.server.access.keyring import Keyring

    keyring = Keyring(_database())
    key = keyring.get(name)
    if not yes:
        click.confirm(tr(f"Revoke {key.name}?", f"{key.name} を失効させますか?"), abort=True)
    keyring.revoke(key.id)
    click.echo(tr(f"{key.name} was revoked.", f"{key.name} を失効させました。"))


def _show_secret(key: Key, secret: str, as_json: bool) -> None:
    if as_json:
        _echo_json(_as_dict(key, None) | {"key": secret})
        return
    click.echo(secret)
    click.secho(
        tr(
            f"This is the key of {key.name}. Copy it now: it is not shown again.",
            f"{key.name} のキーです。もう一度表示することはできないので、いま控えてください。",
        ),
        dim=True,
        err=True,  # so that KEY=$(kajiya keys create …) holds the key and nothing else
    )


def _print_key(key: Key, last_day: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kajiya.core.config import field_title

    table = Table.grid(padding=(0, 2))
    rows = [
        (tr("Name", "名前"), key.name),
        ("ID", key.id),
        (tr("Key", "キー"), f"{key.prefix}…"),
        (tr("State", "状態"), _state(key)),
    ]
    for name, field in KeySettings.model_fields.items():
        value = getattr(key.settings, name)
        text = ", ".join(value) if isinstance(value, tuple) else str(value or "")
        if name != "budget_period" or key.settings.max_budget:
            rows.append((field_title(field), text))
    rows += [
        (tr("Made", "作成"), _day(key.created_at)),
        (tr("New secret", "再発行"), _day(key.rotated_at)),
        (tr("Expires", "期限"), _day(key.expires_at)),
        (tr("Revoked", "失効"), _day(key.revoked_at)),
        (tr("Last used", "最後の利用"), last_day or ""),
    ]
    for title, text in rows:
        if text:
            table.add_row(Text(title, style="dim"), Text(text))
    Console().print(table)


def _active(key: Key) -> bool:
    from kajiya.server.access.clock import now

    return key.state(now()) == "active"


def _state(key: Key) -> str:
    from kajiya.server.access.clock import now

    return {
        "active": tr("active", "有効"),
        "expired": tr("expired", "期限切れ"),
        "revoked": tr("revoked", "失効"),
    }[key.state(now())]


def _day(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}" if moment else ""


def _as_dict(key: Key, last_day: str | None) -> dict[str, Any]:
    from kajiya.server.access.clock import now

    plain = asdict(key)
    return {
        **{name: plain[name] for name in ("id", "name", "prefix")},
        "state": key.state(now()),
        **key.settings.model_dump(mode="json"),
        **{name: plain[name] for name in ("created_at", "expires_at", "rotated_at", "revoked_at")},
        "last_used": last_day,
    }


def _echo_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
