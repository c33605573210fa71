"""Who may ask what, decided before any route is reached.

Every path needs a key unless the table below opens it, unknown paths included. Answers only to
its own names and own origin, so a page in a browser cannot talk to it behind its user's back.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from enum import IntEnum

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.server.access.caller import Caller
from kajiya.server.access.gate import Gate
from kajiya.server.errors import ApiError
from kajiya.server.request_body import read_body, replayed

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Access(IntEnum):
    """Who may use a route: anyone on this machine, whoever has a key, the workspace's own key only."""

    OPEN = 0
    KEY = 1
    ADMINISTRATOR = 2


# Every route of the application; a test fails if one is missing.
RULES = {
    "GET /health": Access.OPEN,
    "GET /v1/models": Access.KEY,
    "GET /v1/models/{model:path}": Access.KEY,
    "GET /v1/states": Access.KEY,
    "GET /v1/states/{state}": Access.KEY,
    "DELETE /v1/states/{state}": Access.KEY,
    "GET /v1/states/{state}/content": Access.KEY,
    "GET /v1/usage": Access.KEY,
    "POST /v1/chat/completions": Access.KEY,
    "POST /v1/completions": Access.KEY,
    "POST /v1/responses": Access.KEY,
    "POST /v1/embeddings": Access.KEY,
    "GET /openapi.json": Access.OPEN,
    "GET /docs": Access.OPEN,
    "GET /metrics": Access.ADMINISTRATOR,
    "GET /v1/adapters": Access.ADMINISTRATOR,
    "POST /v1/adapters": Access.ADMINISTRATOR,
    "GET /v1/adapters/{adapter:path}": Access.ADMINISTRATOR,
    "DELETE /v1/adapters/{adapter:path}": Access.ADMINISTRATOR,
}


def check_loopback(host: str) -> str:
    """`host` if only this machine can reach it; `ConfigError` otherwise."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ConfigError(
            tr(
                f"{host} can be reached from other machines",
                f"{host} は他のコンピューターからも使えるアドレスです",
            ),
            where="host",
            fix=tr(
                "this server does not encrypt: use 127.0.0.1, and a reverse proxy or an SSH tunnel in front of it",
                "このサーバーの通信は暗号化されません。127.0.0.1 を使い、外からは SSH トンネルなどを通してください",
            ),
        )
    return host


class Guard:
    """ASGI middleware: host, origin, key and size of every request, in this order.

    The holder of the key is `request.state.caller` in routes.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        max_body_bytes: int,
        rules: Mapping[str, Access] = RULES,
    ) -> None:
        self._app = app
        self._gate = gate
        self._max_body_bytes = max_body_bytes
        self._rules: list[tuple[str, re.Pattern[str], Access]] = []
        for route, access in rules.items():
            method, path = route.split(" ", 1)
            self._rules.append((method, compile_path(path)[0], access))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no WebSockets here, and nothing to do at start and end
        try:
            headers = Headers(scope=scope)
            check_host(headers)
            check_origin(scope["method"], scope["scheme"], headers)
            access = self._access(scope["method"], scope["path"])
            if access is not Access.OPEN:
                caller = await self._gate.authenticate(_secret(headers))
                if access is Access.ADMINISTRATOR and not caller.is_administrator:
                    raise _not_enough()
                scope.setdefault("state", {})["caller"] = caller
                send = self._telling_limits(send, caller)
            body = await read_body(headers, receive, self._max_body_bytes)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, replayed(body, receive), send)

    def _access(self, method: str, path: str) -> Access:
        """The strictest rule that fits; a key is needed where none does."""
        fitting = [
            access
            for verb, pattern, access in self._rules
            if verb == method and pattern.match(path)
        ]
        return max(fitting, default=Access.KEY)

    def _telling_limits(self, send: Send, caller: Caller) -> Send:
        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                limits = self._gate.headers(caller)
                more = [(name.encode(), value.encode()) for name, value in limits.items()]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        return telling


def _secret(headers: Headers) -> str:
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def _not_enough() -> ApiError:
    return ApiError(
        403,
        tr(
            "Only the administrator's key may do this",
            "この操作ができるのは管理者のキーだけです",
        ),
        code="insufficient_permissions",
    )


def check_host(headers: Headers) -> None:
    """Refuse names that are not this machine's: a page on another site could point one here."""
    hosts = headers.getlist("host")
    name = hosts[0].lower() if len(hosts) == 1 else ""
    bare, _, port = name.rpartition(":")
    if port.isdecimal():
        name = bare
    if name not in _LOCAL_NAMES:
        raise ApiError(
            403,
            tr("This host name is not served here", "このホスト名では使えません"),
            code="host_not_allowed",
        )


def check_origin(method: str, scheme: str, headers: Headers) -> None:
    """Refuse what a page of another origin sends."""
    own = f"{scheme}://{headers.get('host', '')}".lower()
    origins = headers.getlist("origin")
    if method in _CHANGING and any(origin.lower() != own for origin in origins):
        raise ApiError(
            403,
            tr(
                "Requests from other sites are refused",
                "ほかのサイトからのリクエストは受け付けません",
            ),
            code="origin_not_allowed",
        )
