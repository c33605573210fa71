"""Templates: where they are, and what every one of them can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined

from kajiya import __version__
from kajiya.server.access.users import Role
from kajiya.server.console.assets import Assets
from kajiya.server.console.formatting import day_text, moment_text, size_text
from kajiya.server.console.page import Page
from kajiya.server.console.texts import LANGUAGES, Texts
from kajiya.server.console.visit import THEMES, Visit

_SHELL = Path(__file__).parent / "templates"


class Renderer:
    """All templates of the shell (`shell/…`) and of the pages (`NAME/…`). `first_path` begins the menu."""

    def __init__(self, pages: Sequence[Page], assets: Assets, texts: Texts) -> None:
        folders = {"shell": _SHELL, **{page.name: page.folder for page in pages}}
        self._environment = Environment(
            loader=PrefixLoader({name: FileSystemLoader(path) for name, path in folders.items()}),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            asset=assets.address,
            menu=[page for page in pages if page.icon],
            languages=LANGUAGES,
            themes=THEMES,
            roles=list(Role),
            version=__version__,
            size=size_text,
            day=day_text,
            moment=moment_text,
        )
        for name in self._environment.list_templates(["html"]):
            self._environment.get_template(name)  # so that the first reader need not wait for it
        self._texts = texts
        self.first_path = next(page.path for page in pages if page.icon)

    def render(self, template: str, visit: Visit, path: str, values: Mapping[str, Any]) -> str:
        """`template` for this reader; `path` is the address of the page."""
        words = partial(self._text, visit)

        def may(role: str) -> bool:
            return visit.user is not None and visit.user.role.covers(Role(role))

        return self._environment.get_template(template).render(
            t=words,
            word_for=partial(self._texts.get_or, visit.language),
            texts=partial(self._texts.starting_with, visit.language),
            visit=visit,
            user=visit.user,
            may=may,
            path=path,
            **values,
        )

    def _text(self, visit: Visit, key: str, **values: object) -> str:
        return self._texts.get(visit.language, key, values)
