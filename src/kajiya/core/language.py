"""The language people read: Japanese or English, chosen once per process or per request.

Both wordings stand side by side where they are used, so neither can be forgotten or go stale.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

Language = Literal["ja", "en"]
ENVIRONMENT = "KAJIYA_LANG"


def _from_environment() -> Language:
    for value in (os.environ.get(ENVIRONMENT), locale.getlocale()[0]):
        prefix = (value or "").lower()[:2]
        if prefix in get_args(Language):
            return "ja" if prefix == "ja" else "en"
    return "en"


_current: ContextVar[Language | None] = ContextVar("language", default=None)


def current() -> Language:
    """The language in use: `use()`, else `KAJIYA_LANG`, else the locale, else English."""
    return _current.get() or _from_environment()


@contextmanager
def use(language: Language) -> Iterator[None]:
    """Speak `language` inside the block (one request of a server, one test)."""
    token = _current.set(language)
    try:
        yield
    finally:
        _current.reset(token)


def tr(en: str, ja: str) -> str:
    """The wording in the current language."""
    return ja if current() == "ja" else en
