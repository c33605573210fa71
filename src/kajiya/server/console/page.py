"""What a page is: a folder with routes, templates, scripts and texts, and a place in the menu."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from kajiya.server.access.users import Role
from kajiya.server.settings import MIB

PAGES_FOLDER = Path(__file__).parent / "pages"
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """One address and who may use it; `who` is None for anyone on this machine, signed in or not.

    A route with `streaming` reads its body itself, piece by piece, and takes the form token from the
    header only. Bodies larger than `body_limit` bytes are refused either way.
    """

    method: str
    path: str
    handler: Handler
    who: Role | None
    body_limit: int = MIB
    streaming: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Page:
    """The folder `pages/NAME`. With an icon it is in the menu, which leads to its first route."""

    name: str
    routes: tuple[Route, ...]
    icon: str = ""

    @property
    def folder(self) -> Path:
        return PAGES_FOLDER / self.name

    @property
    def path(self) -> str:
        return self.routes[0].path

    def holds(self, path: str) -> bool:
        """Whether the address `path` is one of this page's, for the mark in the menu."""
        return re.match(rf"{re.escape(self.path)}(/|$)", path) is not None
