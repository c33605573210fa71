"""First start, signing in and out, one's own password, language and theme."""

from __future__ import annotations

import asyncio
import hmac
import math
from functools import partial
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.errors import ConfigError, ConflictError
from kajiya.core.language import tr
from kajiya.server.access.users import Role, User
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.page import Page, Route
from kajiya.server.console.texts import LANGUAGES
from kajiya.server.console.visit import THEMES, cookie_name, set_cookie, set_preferences, visit
from kajiya.server.errors import ApiError

_LONGEST_NAME = 100


async def home(request: Request) -> Response:
    """`/`: the way in, the guided first run until it is done, or the first page of the menu."""
    user = visit(request).user
    if user is None:
        people = the(request).people
        return _to("/sign-in" if await asyncio.to_thread(people.any) else "/first")
    return _to(the(request).renderer.first_path if user.welcome.get("done") else "/welcome")


async def show_first(request: Request) -> Response:
    """The first start: who has the token from the terminal becomes administrator."""
    if await asyncio.to_thread(the(request).people.any):
        return _to("/sign-in")
    token = request.query_params.get("token", "")
    return page(request, "account/first.html", token=token, name="", error="")


async def do_first(request: Request) -> Response:
    console, sent = the(request), await form(request)
    token, name = sent.get("token", "").strip(), sent.get("name", "").strip()
    error = ""
    _check_pause(request, "first start")
    if not hmac.compare_digest(token.encode(), console.first_token.encode()):
        console.attempts.failed("first start")
        error = tr(
            "This is not the token that the terminal shows",
            "ターミナルに表示されたトークンと違います",
        )
    elif sent.get("password") != sent.get("again"):
        error = _different()
    if not error:
        try:
            async with console.hashing:
                user = await asyncio.to_thread(
                    console.people.create_first, name, sent.get("password", "")
                )
        except (ConfigError, ConflictError) as problem:
            error = problem.message
        else:
            return await _let_in(request, user, "/", "user.first")
    return page(request, "account/first.html", 400, token=token, name=name, error=error)


async def show_sign_in(request: Request) -> Response:
    if visit(request).user:
        return _to(_local(request.query_params.get("next", "")))
    if not await asyncio.to_thread(the(request).people.any):
        return _to("/first")
    after = request.query_params.get("next", "/")
    return page(request, "account/sign-in.html", name="", after=after, error="")


async def do_sign_in(request: Request) -> Response:
    console, sent = the(request), await form(request)
    name, after = sent.get("name", "").strip()[:_LONGEST_NAME], sent.get("next", "/")
    _check_pause(request, name)
    console.attempts.failed(name)  # taken back below: tries that run side by side count as well
    async with console.hashing:
        user = await asyncio.to_thread(console.people.check, name, sent.get("password", ""))
    if user is None:
        await asyncio.to_thread(console.audit.add, "", "sign-in.refused", name)
        error = tr("The name or the password is wrong", "ユーザー名かパスワードが違います")
        return page(request, "account/sign-in.html", 401, name=name, after=after, error=error)
    console.attempts.succeeded(name)
    return await _let_in(request, user, _local(after), "sign-in")


async def sign_out(request: Request) -> Response:
    await note(request, "sign-out")
    await asyncio.to_thread(the(request).sessions.end, visit(request).secret)
    response = _to("/sign-in")
    # The next form needs a token that whoever used this browser before does not know.
    response.delete_cookie(cookie_name(request.headers), httponly=True, samesite="strict")
    return response


async def show_account(request: Request) -> Response:
    return page(request, "account/account.html", error="", done="")


async def set_password(request: Request) -> Response:
    """One's own password; every browser is signed out, and this one in again."""
    console, sent, user = the(request), await form(request), visit(request).user
    assert user is not None  # the route is for those who are signed in
    _check_pause(request, user.name)
    console.attempts.failed(user.name)
    async with console.hashing:
        right = await asyncio.to_thread(console.people.check, user.name, sent.get("old", ""))
    error = ""
    if right is None:
        error = tr("The present password is wrong", "現在のパスワードが違います")
    elif sent.get("password") != sent.get("again"):
        error = _different()
    if not error:
        console.attempts.succeeded(user.name)
        try:
            async with console.hashing:
                await asyncio.to_thread(
                    console.people.set_password, user.id, sent.get("password", "")
                )
        except ConfigError as problem:
            error = problem.message
        else:
            return await _let_in(request, user, "/account", "password.changed")
    return page(request, "account/account.html", 400, error=error, done="")


async def sign_out_everywhere(request: Request) -> Response:
    user = visit(request).user
    assert user is not None  # the route is for those who are signed in
    await note(request, "sign-out.everywhere")
    await asyncio.to_thread(the(request).sessions.end_all, user)
    return _to("/sign-in")


async def set_taste(request: Request) -> Response:
    """Language and theme, for who is signed in and for the browser."""
    sent, reader = await form(request), visit(request)
    language = sent.get("language", reader.language)
    theme = sent.get("theme", reader.theme)
    if language not in LANGUAGES or theme not in ("", *THEMES):
        raise ConfigError(tr("there is no such choice", "選べない値です"), where="language, theme")
    if user := reader.user:
        people = the(request).people
        await asyncio.to_thread(
            partial(people.remember, user.id, language=language, theme=theme or None)
        )
    response = _to(_local(sent.get("next", "/")))
    set_preferences(response, language, theme)
    return response


async def _let_in(request: Request, user: User, after: str, action: str) -> Response:
    """A new session, whatever the browser had before."""
    console = the(request)
    await asyncio.to_thread(console.sessions.end, visit(request).secret)
    secret = await asyncio.to_thread(console.sessions.begin, user)
    await asyncio.to_thread(console.audit.add, user.name, action)
    response = _to(after)
    set_cookie(request, response, secret)
    return response


def _check_pause(request: Request, name: str) -> None:
    seconds = math.ceil(the(request).attempts.wait(name))
    if seconds > 0:
        raise ApiError(
            429,
            tr(
                f"Too many wrong tries. Wait {seconds} seconds, then try again",
                f"間違いが続いたため、{seconds} 秒待ってからもう一度お試しください",
            ),
            code="too_many_attempts",
            headers={"Retry-After": str(seconds)},
        )


def _local(address: str) -> str:
    """`address` if it is one of ours: nobody is sent to another site after signing in."""
    parts = urlsplit(address.replace("\\", "/"))
    good = not parts.scheme and not parts.netloc and parts.path.startswith("/")
    return address if good and not address.startswith("//") and address.isprintable() else "/"


def _different() -> str:
    return tr("The two passwords are not the same", "2 つのパスワードが一致しません")


def _to(address: str) -> RedirectResponse:
    return RedirectResponse(address, 303)


PAGE = Page(
    "account",
    routes=(
        Route("GET", "/account", show_account, Role.VIEWER),
        Route("POST", "/account/password", set_password, Role.VIEWER),
        Route("POST", "/account/sign-out-everywhere", sign_out_everywhere, Role.VIEWER),
        Route("POST", "/sign-out", sign_out, Role.VIEWER),
        Route("GET", "/", home, None),
        Route("GET", "/first", show_first, None),
        Route("POST", "/first", do_first, None),
        Route("GET", "/sign-in", show_sign_in, None),
        Route("POST", "/sign-in", do_sign_in, None),
        Route("POST", "/taste", set_taste, None),
    ),
)
