"""Who may open which page, decided before any handler is reached.

The API has a guard of its own (`server/security.py`): a cookie opens no API, and a key opens no page.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Iterable
from urllib.parse import parse_qs, quote

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import compile_path
from starlette.types import Message, Receive, Scope, Send

from kajiya.core.language import tr, use
from kajiya.server.access.sessions import Sessions
from kajiya.server.access.users import Role
from kajiya.server.console.errors import answer, wants_page
from kajiya.server.console.page import Route
from kajiya.server.console.visit import Visit, read_visit
from kajiya.server.errors import ApiError
from kajiya.server.request_body import check_length, passed_on, read_body, replayed
from kajiya.server.security import check_host, check_origin
from kajiya.server.settings import MIB

SIGN_IN = "/sign-in"
STATIC = "/static/"
_SAFE = ("GET", "HEAD")
# With an icon of its own, or the browser would ask for one that is not there.
_AGAIN = '<!doctype html><link rel="icon" href="data:,"><meta http-equiv="refresh" content="0">'
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # "no-referrer" would take the origin from forms as well
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class ConsoleGuard:
    """Around the console's application: host, origin, session, role, body and form token of every request, in this order.

    The reader is `request.state.visit` in handlers, and their language is his.
    """

    def __init__(self, app: FastAPI, routes: Iterable[Route], sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions
        self._routes: list[tuple[re.Pattern[str], Route]] = [
            (compile_path(route.path)[0], route) for route in routes
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no WebSockets here, and nothing to do at start and end
        send = _hardened(send)
        scope["app"] = self._app  # refusals are pages, too
        headers = Headers(scope=scope)
        try:
            check_host(headers)
            check_origin(scope["method"], scope["scheme"], headers)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if scope["path"].startswith(STATIC):  # a page has several of them: no database for these
            visit = read_visit(headers, None)
        else:
            visit = await asyncio.to_thread(read_visit, headers, self._sessions)
        scope.setdefault("state", {})["visit"] = visit
        with use(visit.language):
            try:
                refused, body = await self._look(scope, headers, receive, visit)
            except ApiError as error:
                refused, body = answer(Request(scope), error), None
            if refused is not None:
                await refused(scope, receive, send)
            elif body is not None:
                await self._app(scope, body, send)

    async def _look(
        self, scope: Scope, headers: Headers, receive: Receive, visit: Visit
    ) -> tuple[Response | None, Receive | None]:
        """A refusal, or the body to go on with; neither if the client left."""
        method, path = scope["method"], scope["path"]
        if _followed_a_link(Request(scope), visit):
            return HTMLResponse(_AGAIN), None
        fitting = [
            route
            for pattern, route in self._routes
            if route.method == method and pattern.match(path)
        ]
        needed = _strictest(fitting)
        if needed is not None and visit.user is None:
            return _sign_in_first(Request(scope)), None
        if needed is not None and visit.user and not visit.user.role.covers(needed):
            raise _not_enough(needed)
        limit = min((route.body_limit for route in fitting), default=MIB)
        if fitting and all(route.streaming for route in fitting):
            check_length(headers, limit)
            _check_token(method, visit, headers.get("x-csrf-token", ""))
            return None, passed_on(receive, limit)
        body = await read_body(headers, receive, limit)
        if body is None:
            return None, None
        _check_token(method, visit, headers.get("x-csrf-token") or _form_token(headers, body))
        return None, replayed(body, receive)


def _followed_a_link(request: Request, visit: Visit) -> bool:
    """Whether a link on another site led here: browsers keep the cookie back then, but not when our own
    page, shown for an instant, asks again.
    """
    elsewhere = request.headers.get("sec-fetch-site") == "cross-site"
    return elsewhere and not visit.has_cookie and request.method == "GET" and wants_page(request)


def _strictest(routes: list[Route]) -> Role | None:
    """The highest role that a fitting route asks for; somebody must be signed in where none fits."""
    if not routes:
        return Role.VIEWER
    roles = [route.who for route in routes if route.who]
    return max(roles, key=list(Role).index) if roles else None


def _check_token(method: str, visit: Visit, given: str) -> None:
    """Refuse what another site may have sent: changes need the token that only our pages know."""
    if method in _SAFE:
        return
    if not visit.has_cookie or not hmac.compare_digest(given.encode(), visit.csrf_token.encode()):
        raise ApiError(
            403,
            tr(
                "This page is too old: load it again and repeat what you did",
                "ページの有効期限が切れました。再読み込みして、もう一度操作してください",
            ),
            code="form_token",
        )


def _form_token(headers: Headers, body: bytes) -> str:
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=1000)
    return fields.get("csrf_token", [""])[0]


def _sign_in_first(request: Request) -> Response:
    if request.method in _SAFE and wants_page(request):
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(back, safe='')}", 303)
    message = tr("Sign in first", "先にサインインしてください")
    return answer(request, ApiError(401, message, code="sign_in"))


def _not_enough(needed: Role) -> ApiError:
    return ApiError(
        403,
        tr(
            f"Your role does not allow this; it takes: {needed.value}",
            f"この操作には権限「{needed.value}」が必要です",
        ),
        code="insufficient_role",
    )


def _hardened(send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message["headers"]}  # a page may bring a stricter policy
            usual = {name.lower().encode(): value.encode() for name, value in _HEADERS.items()}
            more = [(name, value) for name, value in usual.items() if name not in own]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return hardened
