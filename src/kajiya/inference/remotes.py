"""The endpoints elsewhere that the owner of this workspace has named, in one file: `remotes.yaml`.

Nothing else decides where requests go: no client can name an address. Keys are not in that file; it
says where they are.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.core.files import check_name
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.inference.protocol import ConstraintKind

PREFIX = "remote:"
_KEY = re.compile(r"[\x21-\x7e]{1,4096}")
# Scheme, host, port and path only, in characters about which no two programs disagree.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
    r"(?:/[A-Za-z0-9._~-]+)*/?"
)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Remote(Config):
    """One model at one OpenAI-compatible endpoint."""

    url: str = option(
        en="Address",
        ja="アドレス",
        help=("Up to and with /v1.", "/v1 まで。"),
        max_length=2000,
    )
    model: str = option(
        en="The model's name there", ja="接続先でのモデル名", min_length=1, max_length=500
    )
    key_env: str | None = option(
        None,
        en="Environment variable with the key",
        ja="キーの入った環境変数",
        help=("The key itself is never written down.", "キーそのものは保存しません。"),
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )
    key_file: Path | None = option(
        None,
        en="File with the key",
        ja="キーの入ったファイル",
        help=("Readable by you only.", "自分だけが読めるもの。"),
    )
    context_length: int | None = option(
        None,
        en="Context length",
        ja="文脈の長さ",
        help=(
            "Tokens of prompt and answer together, if the endpoint does not tell.",
            "入力と回答を合わせたトークン数。接続先が教えない場合に。",
        ),
        ge=16,
    )
    constraints: tuple[ConstraintKind, ...] = option(
        (),
        en="Forms of answers that it can keep to",
        ja="対応している回答の形",
        help=("vLLM is known to keep to all.", "vLLM なら指定しなくてもすべて使えます。"),
    )
    parallel: int = option(8, en="Requests at a time", ja="同時に送る数", ge=1, le=1024)
    seconds: int = option(
        300,
        en="Longest silence, in seconds",
        ja="応答を待つ秒数",
        help=("Before the next piece of an answer.", "回答の続きが届くまで。"),
        ge=1,
        le=86_400,
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        if _URL.fullmatch(url):
            return url
        raise ValueError(
            tr(
                "an address such as https://host:8000/v1 is expected, with no password and no query",
                "https://host:8000/v1 のようなアドレスが必要です。パスワードや ? # は付けられません",
            )
        )

    @field_validator("key_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path else None

    @model_validator(mode="after")
    def _key_is_safe(self) -> Self:
        if self.key_env and self.key_file:
            raise ValueError(tr("the key is in one place", "キーの場所は 1 つだけです"))
        clear = self.url.startswith("http:") and not is_local(self.url)
        if (self.key_env or self.key_file) and clear:
            raise ValueError(
                tr(
                    "a key would cross the network in the clear: use https, or an SSH tunnel to 127.0.0.1",
                    "キーが暗号化されずに流れます。https か、127.0.0.1 への SSH トンネルを使ってください",
                )
            )
        return self

    def key(self) -> str | None:
        """The key, read now; `ConfigError` if it is not where it should be."""
        if self.key_env:
            return _checked(os.environ.get(self.key_env, ""), self.key_env)
        return _checked(_read(self.key_file), str(self.key_file)) if self.key_file else None


def is_local(url: str) -> bool:
    """Whether this machine itself is meant."""
    parts = _URL.fullmatch(url)
    return parts is not None and parts["host"] in _LOOPBACK


class _File(Config):
    remotes: dict[str, Remote] = Field(default_factory=dict)


def load_remotes(workspace: Workspace) -> dict[str, Remote]:
    """All of them, by name; `ConfigError` for a file that cannot be read."""
    path = _path(workspace)
    return _File.load(path).remotes if path.exists() else {}


def find_remote(name: str, workspace: Workspace) -> Remote:
    """The one called `name`; `NotFoundError` otherwise."""
    remotes = load_remotes(workspace)
    if name in remotes:
        return remotes[name]
    known = ", ".join(f"{PREFIX}{name}" for name in remotes)
    raise NotFoundError(
        tr(f"there is no endpoint {name!r}", f"接続先 {name!r} はありません"),
        fix=tr(f"known: {known}", f"使えるもの: {known}")
        if known
        else tr(
            "name one with `kajiya models remote add`",
            "`kajiya models remote add` で登録してください",
        ),
    )


def add_remote(name: str, remote: Remote, workspace: Workspace) -> None:
    """Keep `remote` as `name`; `ConflictError` if there is one, `ConfigError` for an unfit name."""
    check_name(name)
    workspace.create()
    with locked(workspace.home / "remotes.lock"):
        remotes = load_remotes(workspace)
        if name in remotes:
            raise ConflictError(
                tr("there is an endpoint of this name", "この名前の接続先はもうあります"),
                where=name,
                fix=tr(
                    f"remove it first: `kajiya models remote rm {name}`",
                    f"先に `kajiya models remote rm {name}` で消してください",
                ),
            )
        _File(remotes=remotes | {name: remote}).save(_path(workspace))


def remove_remote(name: str, workspace: Workspace) -> None:
    """Forget the one called `name`; `NotFoundError` if there is none."""
    find_remote(name, workspace)
    with locked(workspace.home / "remotes.lock"):
        left = {key: value for key, value in load_remotes(workspace).items() if key != name}
        _File(remotes=left).save(_path(workspace))


def _path(workspace: Workspace) -> Path:
    return workspace.home / "remotes.yaml"


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(
                    tr("others can read this key", "ほかの人が読めるキーです"),
                    where=str(path),
                    fix=f"chmod 600 {path}",
                )
            return file.read(10_000).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            tr(f"the key cannot be read: {error}", f"キーを読めません: {error}"), where=str(path)
        ) from None


def _checked(key: str, where: str) -> str:
    if _KEY.fullmatch(key):
        return key
    raise ConfigError(
        tr("there is no key in it", "キーが入っていません"),
        where=where,
        fix=tr("put the endpoint's key there", "接続先のキーを入れてください"),
    )
