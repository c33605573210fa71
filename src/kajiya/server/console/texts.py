"""The words of the pages in both languages, from `locales/` and each page's own two files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from kajiya.core.language import Language
from kajiya.server.console.page import Page

LANGUAGES: tuple[Language, ...] = get_args(Language)
_SHELL = Path(__file__).parent / "locales"


class Texts:
    """`texts.get("ja", "data.title")`; raises `KeyError` for a key that is not there."""

    def __init__(self, pages: Iterable[Page]) -> None:
        folders = [("shell", _SHELL), *((page.name, page.folder) for page in pages)]
        self._words: dict[Language, dict[str, str]] = {
            language: {
                f"{name}.{key}": words
                for name, folder in folders
                for key, words in _read(folder / f"{language}.json").items()
            }
            for language in LANGUAGES
        }

    def keys(self, language: Language) -> set[str]:
        return set(self._words[language])

    def get(self, language: Language, key: str, values: Mapping[str, object] | None = None) -> str:
        """The words for `key`; `{name}` in them is replaced by the value of that name."""
        words = self._words[language][key]
        return words.format_map(values) if values else words

    def get_or(self, language: Language, key: str, otherwise: str) -> str:
        """The words for `key`, where there are some: for kinds and states that others may add to."""
        return self._words[language].get(key, otherwise)

    def starting_with(self, language: Language, prefixes: Iterable[str]) -> dict[str, str]:
        """All words whose key begins with one of `prefixes`, for a page's script."""
        starts = tuple(prefixes)
        return {k: words for k, words in self._words[language].items() if k.startswith(starts)}


def _read(path: Path) -> dict[str, str]:
    words: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return words
