"""Who is asking, and how he wants to be answered: worked out from a request's cookies once."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import cast

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response

from kajiya.core import language
from kajiya.core.language import Language
from kajiya.server.access.sessions import LONGEST, Sessions, new_secret
from kajiya.server.access.users import User
from kajiya.server.console.texts import LANGUAGES

THEMES = ("light", "dark")
_LANGUAGE_COOKIE, _THEME_COOKIE = "kajiya-language", "kajiya-theme"
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Visit:
    """One request's reader. `user` is None for somebody who is not signed in; `theme` is empty for the system's.

    `secret` is what the cookie holds (or will hold, where none came): a session's if somebody is
    signed in, and in any case what the form token is made from.
    """

    user: User | None
    language: Language
    theme: str
    secret: str = field(repr=False)
    has_cookie: bool

    @property
    def csrf_token(self) -> str:
        """What a form must send along; no other site can know it."""
        return hashlib.sha256(f"form {self.secret}".encode()).hexdigest()


def read_visit(headers: Headers, sessions: Sessions | None) -> Visit:
    """Look the cookies up; blocks. Without `sessions`, for what is the same for everybody, nobody is signed in."""
    cookies = cookie_parser(headers.get("cookie", ""))
    secret = cookies.get(cookie_name(headers), "")
    known = _FORM.fullmatch(secret) is not None
    user = sessions.find(secret) if sessions and known else None
    wanted = user.language if user and user.language else cookies.get(_LANGUAGE_COOKIE, "")
    theme = user.theme if user and user.theme else cookies.get(_THEME_COOKIE, "")
    return Visit(
        user=user,
        language=_one_of(wanted) or _accepted(headers.get("accept-language", "")),
        theme=theme if theme in THEMES else "",
        secret=secret if known else new_secret(),
        has_cookie=known,
    )


def visit(request: Request) -> Visit:
    """The reader of this request."""
    return cast(Visit, request.state.visit)


def cookie_name(headers: Headers) -> str:
    """Cookies are shared between ports, so two consoles on one machine need two names."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"kajiya-{port if port.isdecimal() else '80'}"


def set_cookie(request: Request, response: Response, secret: str) -> None:
    """Have the browser keep `secret`, out of reach of scripts and other sites."""
    response.set_cookie(
        cookie_name(request.headers),
        secret,
        max_age=int(LONGEST.total_seconds()),
        httponly=True,
        samesite="strict",
    )


def set_preferences(response: Response, language: str, theme: str) -> None:
    """Have the browser remember language and theme for when nobody is signed in."""
    for name, value in ((_LANGUAGE_COOKIE, language), (_THEME_COOKIE, theme)):
        response.set_cookie(name, value, max_age=31_536_000, httponly=True, samesite="strict")


def _one_of(text: str) -> Language | None:
    return next((name for name in LANGUAGES if name == text), None)


def _accepted(header: str) -> Language:
    """The language that the browser likes better; the program's own where it says nothing."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, _, rest = part.strip().partition(";")
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
        weight = float(quality[1]) if quality else 1.0
        weights.setdefault(name.strip().lower()[:2], weight)
    known = [name for name in LANGUAGES if weights.get(name, 0) > 0]
    return max(known, key=lambda name: weights[name], default=language.current())
