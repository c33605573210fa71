"""A refusal reaches the client even while it is still sending its body.

A connection that is closed with bytes unread is reset, and what was answered is lost with it: the client
sees a broken connection and no reason (RFC 9112, section 9.6). So the last of an error's bytes are held
back until the body has come in and been thrown away, or for a few seconds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = 5


def lingering(app: ASGIApp) -> ASGIApp:
    """`app`, whose errors are not lost; nothing else about it changes."""

    async def lingers(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        whole = False  # the body has come, or nobody is there
        refused = False

        async def noting() -> Message:
            nonlocal whole
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        async def holding(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = message["status"] >= 400
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not (refused and last) or whole:
                await send(message)
                return
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS):
                    while not whole:
                        await noting()
            await send({"type": "http.response.body", "body": b""})

        await app(scope, noting, holding)

    return lingers
