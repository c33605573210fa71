"""Bodies of requests: whole or in pieces, and never more of them than is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from kajiya.server.access.sessions import new_secret
from kajiya.server.access.users import Role, User
from kajiya.server.console import errors
from kajiya.server.console.guard import ConsoleGuard
from kajiya.server.console.page import Route
from kajiya.server.console.visit import Visit

USER = User("user-1", "sato", Role.ADMIN, None, None, {}, "", None)
SECRET = new_secret()
TOKEN = Visit(USER, "en", "", SECRET, True).csrf_token
LIMIT = 1000


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who is signed in, before two routes that count bytes: in pieces, and whole."""
    app = FastAPI()
    app.state.largest = 0

    async def pieces(request: Request) -> Response:
        total = 0
        async for piece in request.stream():
            total += len(piece)
            app.state.largest = max(app.state.largest, total)
        return PlainTextResponse(str(total))

    async def whole(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    routes = [
        Route("POST", "/pieces", pieces, Role.TRAINER, LIMIT, streaming=True),
        Route("POST", "/whole", whole, Role.TRAINER, LIMIT),
    ]
    for route in routes:
        app.add_api_route(route.path, route.handler, methods=["POST"], response_model=None)
    errors.install(app)
    sessions = SimpleNamespace(find=lambda secret: USER if secret == SECRET else None)
    guard = ConsoleGuard(app, routes, sessions)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(guard)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://localhost:1",
        cookies={"kajiya-1": SECRET},
        headers={"X-CSRF-Token": TOKEN},
    ) as made:
        made.app = app  # type: ignore[attr-defined]
        yield made


async def endless(pieces: int) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        yield b"x" * 100


@pytest.mark.parametrize("path", ["/pieces", "/whole"])
async def test_what_fits_arrives(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, content=b"x" * LIMIT)).text == "1000"
    assert (await client.post(path, content=endless(10))).text == "1000"
    assert (await client.post(path)).text == "0"


@pytest.mark.parametrize("path", ["/pieces", "/whole"])
async def test_what_says_that_it_is_too_large_is_refused_unread(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.post(path, content=b"x" * (LIMIT + 1))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert client.app.state.largest == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/pieces", "/whole"])
async def test_what_turns_out_too_large_is_refused_at_the_limit(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.post(path, content=endless(1000))
    assert response.status_code == 413
    assert client.app.state.largest <= LIMIT  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/pieces", "/whole"])
async def test_the_token_is_needed_however_the_body_comes(
    client: httpx.AsyncClient, path: str
) -> None:
    client.headers["X-CSRF-Token"] = "wrong"
    form = {"csrf_token": TOKEN}
    assert (await client.post(path, content=b"x")).json()["error"]["code"] == "form_token"
    del client.headers["X-CSRF-Token"]
    # A form's own field counts only where the body was read already.
    assert (await client.post(path, data=form)).status_code == (403 if path == "/pieces" else 200)
    as_json = await client.post(path, json=form)
    assert as_json.status_code == 403
