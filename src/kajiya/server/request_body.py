"""The body of a request, read or passed on, and never more of it than is allowed."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from kajiya.core.language import tr
from kajiya.server.errors import ApiError

_BODY_SECONDS = 60


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None if the client left; a 413 as soon as it is too large, a 408 if it dawdles."""
    check_length(headers, limit)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _too_slow() from None


def check_length(headers: Headers, limit: int) -> None:
    """A 413 for a body that says it is too large."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > limit:
        raise _too_large(limit)


def passed_on(receive: Receive, limit: int) -> Receive:
    """The body as it comes, for a route that reads it in pieces: that is where the errors are raised.

    Each piece may take as long as a whole small body.
    """
    seen = 0

    async def passing() -> Message:
        nonlocal seen
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                message = await receive()
        except TimeoutError:
            raise _too_slow() from None
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return passing


def replayed(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then whatever comes (which is the client leaving)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413,
        tr(
            f"The request is larger than {limit} bytes",
            f"リクエストが {limit} バイトを超えています",
        ),
        code="request_too_large",
        headers={"Connection": "close"},
    )


def _too_slow() -> ApiError:
    return ApiError(
        408,
        tr("The request took too long to arrive", "リクエストの受信に時間がかかりすぎました"),
    )
