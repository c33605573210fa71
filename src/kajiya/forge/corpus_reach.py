"""What a recipe may read that came in by the console: folders and hosts that an administrator named.

Whoever can start a terminal on this machine can read its files anyway, so `kajiya corpus build` asks nobody. Whoever
has only a role in the console cannot: without this, a recipe would show him any file of the server's owner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError, KajiyaError, NotFoundError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.corpus.recipe import Recipe, read_recipe
from kajiya.corpus.rules.preset import preset_names
from kajiya.corpus.sources.network import Host, NetworkSource
from kajiya.corpus.yaml_lines import YamlLines
from kajiya.models.starters import PREFIX, find_starter
from kajiya.store.artifacts import ArtifactStore

_FILE = "corpora.yaml"
_TOKENIZER_KINDS = ("tokenizer", "model", "adapter")


class Reach(Config):
    """Where recipes of the console may read, and where their network sources keep answers."""

    folders: tuple[str, ...] = option((), en="Folders", ja="フォルダ")
    hosts: tuple[Host, ...] = option((), en="Hosts", ja="ホスト")

    @classmethod
    def of(cls, workspace: Workspace) -> Reach:
        """This workspace's; nothing, where nobody named any."""
        path = workspace.home / _FILE
        return cls.load(path) if path.is_file() else cls()

    @classmethod
    def named(cls, values: Mapping[str, Any], workspace: Workspace) -> Reach:
        """What an administrator names. Raises `ConfigError` for what is no folder or may not be read."""
        reach = cls.checked(dict(values))
        for folder in reach.folders:
            path = Path(folder)
            if not path.is_absolute() or not path.is_dir():
                raise ConfigError(
                    tr("there is no such folder", "フォルダがありません"),
                    where=folder,
                    fix=tr(
                        "give the whole path of a folder on this machine",
                        "このマシンにあるフォルダを、先頭からの完全なパスで指定してください",
                    ),
                )
            _check_apart(path, workspace)
        return reach

    def keep(self, workspace: Workspace) -> None:
        """Write it down."""
        workspace.create()
        self.save(workspace.home / _FILE)

    def read(self, text: str, base: str, workspace: Workspace) -> Recipe:
        """The recipe in `text`, with paths relative to `base`, which is one of the folders.

        Raises `ConfigError` naming the line `recipe.yaml:N`, also for what it may not read.
        """
        if base and base not in self.folders:
            raise ConfigError(_not_named(), where=base)
        file = YamlLines(text.encode("utf-8", "replace"), Path("recipe.yaml"))
        recipe = read_recipe(file, Path(base or "/"))
        for field, place in recipe.places.items():
            if field in _NAMED and "/" not in place:
                _NAMED[field](place, file.where(field), workspace)
            else:
                self._check_place(place, file.where(field), workspace)
        for number, source in enumerate(recipe.sources):
            hosts = source.hosts if isinstance(source, NetworkSource) else []
            for host in hosts:
                if host not in self.hosts:
                    raise ConfigError(
                        tr(
                            f"{host} is not among the hosts that recipes may read",
                            f"{host} は読み取りを許可されたホストではありません",
                        ),
                        where=file.where(("sources", str(number), "hosts")),
                        fix=_ask(),
                    )
        return recipe

    def _check_place(self, place: str, where: str, workspace: Workspace) -> None:
        try:
            path = Path(place).resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle, a NUL
            path = Path("/")
        allowed = [Path(folder).resolve() for folder in self.folders]
        if not Path(place).is_absolute() or not any(map(path.is_relative_to, allowed)):
            raise ConfigError(_not_named(), where=where, fix=_ask())
        _check_apart(path, workspace)


def _check_rules(name: str, where: str, workspace: Workspace) -> None:
    if name not in preset_names():
        names = ", ".join(preset_names())
        raise ConfigError(
            tr(f"there are no rules {name!r}", f"{name!r} という規則はありません"),
            where=where,
            fix=tr(f"presets: {names}", f"使えるプリセット: {names}"),
        )


def _check_tokenizer(name: str, where: str, workspace: Workspace) -> None:
    """Only what is on this machine; a hub is somewhere else."""
    try:
        if name.startswith(PREFIX):
            find_starter(name)
            return
        store = ArtifactStore(workspace)
        for kind in _TOKENIZER_KINDS:
            with suppress(NotFoundError):
                store.get(name, kind)
                return
    except KajiyaError as error:
        raise ConfigError(error.message, where=where, fix=error.fix) from None
    raise ConfigError(
        tr(
            f"there is no tokenizer or model {name!r} in the workspace",
            f"ワークスペースに {name!r} というトークナイザやモデルはありません",
        ),
        where=where,
    )


_NAMED: dict[tuple[str, ...], Callable[[str, str, Workspace], None]] = {
    ("rules",): _check_rules,
    ("tokenizer",): _check_tokenizer,
}


def _check_apart(path: Path, workspace: Workspace) -> None:
    """Refuse what holds the workspace or lies in it: keys, accounts and conversations are there."""
    path, home = path.resolve(), workspace.home.resolve()
    if path.is_relative_to(home) or home.is_relative_to(path):
        raise ConfigError(
            tr(
                "Kajiya's own files are there: keys, accounts, conversations",
                "Kajiya 自身のファイル (キー・アカウント・会話) がある場所です",
            ),
            where=str(path),
            fix=tr("name a folder apart from them", "それを含まないフォルダを指定してください"),
        )


def _not_named() -> str:
    return tr(
        "not in one of the folders that recipes may read",
        "読み取りを許可されたフォルダの中にありません",
    )


def _ask() -> str:
    return tr(
        "an administrator can allow it, on the page of corpora",
        "管理者がコーパスのページで許可できます",
    )
