"""What page handlers work with, and how they answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse

from kajiya.core.workspace import Workspace
from kajiya.server.access.attempts import Attempts
from kajiya.server.access.audit import Audit
from kajiya.server.access.sessions import Sessions
from kajiya.server.access.users import People
from kajiya.server.chats.service import Chats
from kajiya.server.console.rendering import Renderer
from kajiya.server.console.visit import set_cookie, visit
from kajiya.server.gateway import Gateway
from kajiya.server.serving import Serving


@dataclass(frozen=True)
class Console:
    """The parts of a running console. `first_token` opens the first start, while nobody is registered.

    Passwords are hashed or checked inside `hashing`: each takes 32 MiB while it lasts.
    """

    workspace: Workspace
    gateway: Gateway
    serving: Serving
    chats: Chats
    people: People
    sessions: Sessions
    audit: Audit
    renderer: Renderer
    first_token: str = field(repr=False)
    attempts: Attempts = field(default_factory=Attempts)
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


def the(request: Request) -> Console:
    """The console that this request came to."""
    return cast(Console, request.app.state.console)


def page(request: Request, template: str, http_status: int = 200, /, **values: Any) -> HTMLResponse:
    """`template` (such as `data/list.html`) filled in, in the reader's language and theme."""
    reader = visit(request)
    html = the(request).renderer.render(template, reader, request.url.path, values)
    response = HTMLResponse(html, http_status, headers={"Cache-Control": "no-store"})
    if not reader.has_cookie:
        set_cookie(request, response, reader.secret)  # forms of those who are not signed in need it
    return response


async def form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; of several with one name the last."""
    body = await request.body()
    fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    return dict(fields)


async def note(request: Request, action: str, subject: str = "", **detail: Any) -> None:
    """Write into the audit log what this reader did."""
    user = visit(request).user
    name = user.name if user else ""
    await asyncio.to_thread(the(request).audit.add, name, action, subject, **detail)
