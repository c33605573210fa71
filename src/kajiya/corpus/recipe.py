"""A recipe: everything that decides what a corpus is made from and how, in one YAML file.

Paths in it are relative to the file. How it is run (processes, a cluster) is not in it, since the
corpus does not depend on that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ValidationError, model_validator

from kajiya import __version__
from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.corpus.contamination import ContaminationSettings, ItemFile
from kajiya.corpus.duplicates.lines import LineSettings
from kajiya.corpus.duplicates.settings import ExactSettings, NearSettings
from kajiya.corpus.mixture import MixtureSettings
from kajiya.corpus.personal.mask import PersonalSettings
from kajiya.corpus.sources.network import NetworkSource
from kajiya.corpus.sources.registry import SourceSettings
from kajiya.corpus.sources.source import PathSource
from kajiya.corpus.yaml_lines import YamlLines
from kajiya.tokenizer.settings import TokenizerConfig

_PLACES = {PathSource: "path", NetworkSource: "folder"}


class DuplicateSettings(Config):
    """Which duplicates are looked for; `null` passes one over."""

    exact: ExactSettings | None = option(ExactSettings, en="The same text", ja="同一の文書")
    near: NearSettings | None = option(NearSettings, en="Near-duplicates", ja="類似文書")
    lines: LineSettings | None = option(None, en="Repeated lines", ja="繰り返される行")


def _item_file(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


class EvaluationSettings(ContaminationSettings):
    """Which evaluations a model of this corpus will be tested with."""

    items: tuple[Annotated[ItemFile, BeforeValidator(_item_file)], ...] = option(
        en="Evaluation items",
        ja="評価問題",
        min_length=1,
        help=(
            "files: a path, or {path, text, task}",
            "ファイルの場所、または {path, text, task}",
        ),
    )


class ShardSettings(Config):
    """How the tokens are laid down."""

    size_mb: float = option(
        1000,
        en="Size of a shard (MB)",
        ja="シャードの大きさ (MB)",
        gt=0,
        le=1_000_000,
        help=("a longer document is cut", "これより長い文書は分割される"),
    )
    held_out_bytes: int = option(
        100_000,
        en="Held-out text",
        ja="検証用の文章",
        ge=0,
        help=(
            "bytes of whole works kept out of training (at most 5 %)",
            "学習に使わない作品のバイト数 (最大 5 %)",
        ),
    )


class Recipe(Config):
    """The stages of a corpus in their order; a stage that is not given is passed over."""

    sources: list[SourceSettings] = option(en="Sources", ja="情報源", min_length=1)
    rules: str | None = option(
        None,
        en="Rules",
        ja="選別の規則",
        help=(
            "a preset's name or a YAML file: kajiya-ja, swallow-v1, …",
            "プリセットの名前か YAML ファイル (kajiya-ja・swallow-v1 など)",
        ),
    )
    personal: PersonalSettings | None = option(None, en="Personal data", ja="個人情報")
    duplicates: DuplicateSettings | None = option(None, en="Duplicates", ja="重複の除去")
    contamination: EvaluationSettings | None = option(
        None, en="Evaluation items", ja="評価問題の混入"
    )
    mixture: MixtureSettings | None = option(None, en="Mixture", ja="配合")
    tokenizer: str | TokenizerConfig | None = option(
        None,
        en="Tokenizer",
        ja="トークナイザ",
        help=(
            "a model or tokenizer, or settings for training one; without it no shards are made",
            "モデルかトークナイザの名前、または新しく学習する設定。省略時はシャードを作らない",
        ),
    )
    shards: ShardSettings = option(ShardSettings, en="Shards", ja="シャード")
    part_mb: float = option(
        32,
        en="Size of a part (MB)",
        ja="パートの大きさ (MB)",
        gt=0,
        le=1024,
        help=(
            "text that one process holds at a time",
            "1 つのプロセスが一度に扱う文章の量",
        ),
    )
    seed: int = option(0, en="Seed", ja="乱数の種", ge=0, le=2**32 - 1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source_name(source) for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    tr(
                        f"two sources are called {name}: give each a name",
                        f"{name} という情報源が 2 つあります。それぞれに name を付けてください",
                    )
                )
        return self

    def without_folders(self) -> Recipe:
        """The same with the names of its files only: where they lay is nobody else's business."""
        return _with_paths(self, lambda _, path: Path(path).name)

    @property
    def places(self) -> dict[tuple[str, ...], str]:
        """Every file and folder that it names, by the field that does.

        What is not absolute in a recipe that was read is no place, but the name of rules or of a tokenizer.
        """
        found: dict[tuple[str, ...], str] = {}

        def note(field: tuple[str, ...], path: str) -> str:
            found[field] = path
            return path

        _with_paths(self, note)
        return found

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides the result, apart from what the files hold."""
        text = f"{__version__}\n{self.model_dump_json()}"
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def source_name(source: Any) -> str:
    """What a source's documents are marked with."""
    return str(source.name or source.kind)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe, its paths made absolute. `ConfigError` names file, line and field."""
    return read_recipe(YamlLines.load(path), path.absolute().parent)


def read_recipe(file: YamlLines, base: Path) -> Recipe:
    """The recipe in `file`, whose paths are relative to `base`. `ConfigError` names file, line and field."""
    if not isinstance(file.values, dict):
        raise file.error(tr("a mapping of stages is expected", "段階ごとの設定が必要です"))
    try:
        recipe = Recipe.model_validate(file.values)
    except ValidationError as error:
        raise _explain(error, file) from None
    return _resolved(recipe, base)


def _explain(error: ValidationError, file: YamlLines) -> ConfigError:
    first = error.errors()[0]
    field = _as_written(first["loc"], file.values)
    where = file.where(field)
    if first["type"] == "extra_forbidden":
        return ConfigError(
            tr("there is no such setting", "そのような設定はありません"),
            where=where,
            fix=tr(
                "see docs/corpus.md for those there are", "使える設定は docs/ja/corpus.md を参照"
            ),
        )
    message = first["msg"].removeprefix("Value error, ")
    shown = first.get("input")
    if isinstance(shown, str | int | float):
        message = f"{message} ({shown!r})"
    return ConfigError(message, where=where)


def _as_written(location: tuple[str | int, ...], values: Any) -> tuple[str, ...]:
    """A field's place in the file: without the names that pydantic adds for the kinds of a union."""
    field: list[str] = []
    for number, part in enumerate(location):
        if isinstance(values, dict) and (part in values or number == len(location) - 1):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            continue
        field.append(str(part))
    return tuple(field)


def _resolved(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with paths that do not depend on where the program was started."""

    def absolute(_: tuple[str, ...], path: str) -> str:
        return os.path.normpath(base / path)

    rules, tokenizer = recipe.rules, recipe.tokenizer
    named = {
        # Not by pathlib: a name too long for a file is no error, but no file.
        "rules": rules and not os.path.isfile(base / rules),  # noqa: PTH113
        "tokenizer": isinstance(tokenizer, str)
        and not (tokenizer and os.path.isdir(base / tokenizer)),  # noqa: PTH112
    }
    found = _with_paths(recipe, absolute)
    return found.model_copy(
        update={name: getattr(recipe, name) for name, is_name in named.items() if is_name}
    )


def _with_paths(recipe: Recipe, change: Callable[[tuple[str, ...], str], str]) -> Recipe:
    """The recipe with everything that may be a path changed; `change` is told its field."""

    def moved(number: int, source: Any) -> Any:
        name = next((name for kind, name in _PLACES.items() if isinstance(source, kind)), None)
        if name is None:
            return source
        path = change(("sources", str(number), name), getattr(source, name))
        return source.model_copy(update={name: path})

    changed: dict[str, Any] = {
        "sources": [moved(number, source) for number, source in enumerate(recipe.sources)],
        "rules": recipe.rules and change(("rules",), recipe.rules),
    }
    if recipe.contamination:
        items = tuple(
            item.model_copy(
                update={"path": change(("contamination", "items", str(number)), item.path)}
            )
            for number, item in enumerate(recipe.contamination.items)
        )
        changed["contamination"] = recipe.contamination.model_copy(update={"items": items})
    if isinstance(recipe.tokenizer, str):
        changed["tokenizer"] = change(("tokenizer",), recipe.tokenizer)
    return recipe.model_copy(update=changed)
