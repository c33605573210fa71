"""Who may ask what, decided before any route is reached.

Every path needs the key unless the table below opens it, unknown paths included. Answers only to
its own names and own origin, so a page in a browser cannot talk to it behind its user's back.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from enum import Enum

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.server.errors import ApiError

_BODY_SECONDS = 60
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Access(Enum):
    """Who may use a route."""

    OPEN = "anyone on this machine"
    KEY = "whoever has the key"


# Every route of the application; a test fails if one is missing.
RULES = {
    "/health": Access.OPEN,
    "/metrics": Access.KEY,
    "/v1/adapters": Access.KEY,
    "/v1/adapters/{adapter:path}": Access.KEY,
    "/v1/models": Access.KEY,
    "/v1/models/{model:path}": Access.KEY,
    "/v1/chat/completions": Access.KEY,
    "/v1/completions": Access.KEY,
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
                "this server has one key and no encryption: use 127.0.0.1, and a reverse proxy or an SSH tunnel in front of it",
                "このサーバーのキーは 1 つで、通信は暗号化されません。127.0.0.1 を使い、外からは SSH トンネルなどを通してください",
            ),
        )
    return host


class Guard:
    """ASGI middleware: host, origin, key and size of every request, in this order."""

    def __init__(self, app: ASGIApp, key: str, max_body_bytes: int) -> None:
        self._app = app
        self._credentials = f"Bearer {key}".encode("ascii")
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no WebSockets here, and nothing to do at start and end
        try:
            headers = Headers(scope=scope)
            check_host(headers)
            check_origin(scope["method"], scope["scheme"], headers)
            if RULES.get(scope["path"]) is not Access.OPEN:
                self._check_key(headers)
            body = await self._read(headers, receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    def _check_key(self, headers: Headers) -> None:
        given = headers.get("authorization", "").encode("latin-1")
        # The scheme's name is not case-sensitive.
        scheme, _, rest = given.partition(b" ")
        normal = scheme.lower().capitalize() + b" " + rest.strip()
        if not hmac.compare_digest(normal, self._credentials):
            raise ApiError(
                401,
                tr(
                    "A valid key is needed: Authorization: Bearer kj-…",
                    "有効なキーが必要です: Authorization: Bearer kj-…",
                ),
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body, or None if the client left; refused as soon as it is too large."""
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._max_body_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._max_body_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(
                408,
                tr(
                    "The request took too long to arrive",
                    "リクエストの受信に時間がかかりすぎました",
                ),
            ) from None

    def _too_large(self) -> ApiError:
        limit = self._max_body_bytes
        return ApiError(
            413,
            tr(
                f"The request is larger than {limit} bytes",
                f"リクエストが {limit} バイトを超えています",
            ),
            code="request_too_large",
            headers={"Connection": "close"},
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


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then whatever comes (which is the client leaving)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
