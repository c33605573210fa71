"""The base of every configuration: frozen, strict, and readable in Japanese and English.

A field's titles, help and range are written once, here beside its default; command-line help, forms
and documentation are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from kajiya.core.errors import ConfigError
from kajiya.core.files import write_text
from kajiya.core.language import tr

# Both are safe loaders; libyaml's is ten times as fast, which tells where there are hundreds of jobs.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Config(BaseModel):
    """A frozen configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def checked(cls, values: dict[str, Any], where: str = "") -> Self:
        """Build from plain values; `ConfigError` names the offending fields and what is allowed."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            known = ", ".join(cls.model_fields)
            unknown = first["type"] == "extra_forbidden"
            raise ConfigError(
                tr("there is no such option", "そのような設定はありません")
                if unknown
                else f"{first['msg']} ({first.get('input')!r})",
                where=": ".join(part for part in (where, field) if part),
                fix=tr(f"options: {known}", f"使える設定: {known}") if unknown else "",
            ) from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read YAML; `ConfigError` names the file and line or field that is wrong."""
        try:
            values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(
                tr(f"not valid YAML: {error}", f"YAML として読めません: {error}"), where=str(path)
            ) from None
        if not isinstance(values, dict):
            raise ConfigError(
                tr("a mapping of options is expected", "設定名と値の対応が必要です"),
                where=str(path),
            )
        return cls.checked(values, where=str(path))

    def save(self, path: Path) -> None:
        """Write as YAML in one step."""
        text = yaml.safe_dump(self.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
        write_text(path, text)


def option(
    default: Any = ...,
    *,
    en: str,
    ja: str,
    help: tuple[str, str] = ("", ""),
    choices: Mapping[str, tuple[str, str]] | None = None,
    **limits: Any,
) -> Any:
    """A configuration field with a title in both languages.

    `help` is (English, Japanese), and so are the words of `choices`, for values that do not speak for
    themselves; `limits` are pydantic's (`ge`, `le`, `gt`, `lt`, `min_length`, …).
    """
    extra: dict[str, Any] = {"title": {"en": en, "ja": ja}, "help": {"en": help[0], "ja": help[1]}}
    extra["choices"] = {
        value: {"en": words[0], "ja": words[1]} for value, words in (choices or {}).items()
    }
    if callable(default):
        return Field(default_factory=default, json_schema_extra=extra, **limits)
    return Field(default, json_schema_extra=extra, **limits)


def field_title(field: FieldInfo) -> str:
    """A field's title in the current language."""
    return _text(field, "title")


def field_help(field: FieldInfo) -> str:
    """A field's help in the current language; empty if it needs none."""
    return _text(field, "help")


def choice_words(field: FieldInfo, choice: str) -> str:
    """What a choice is called in the current language; the value itself if it has no words."""
    words = _extra(field, "choices").get(choice, {})
    return tr(words.get("en", choice), words.get("ja", choice))


def _text(field: FieldInfo, key: str) -> str:
    words = _extra(field, key)
    return tr(words.get("en", ""), words.get("ja", ""))


def _extra(field: FieldInfo, key: str) -> dict[str, Any]:
    extra = field.json_schema_extra
    found: Any = extra.get(key, {}) if isinstance(extra, dict) else {}
    return found if isinstance(found, dict) else {}
