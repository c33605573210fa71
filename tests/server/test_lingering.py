"""Refusals are read by clients that are still sending: over a real connection, for only there are resets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from kajiya.server import lingering
from kajiya.server.lingering import lingering as wrapped

BODY = b"x" * (4 << 20)


async def refuse(request: Request) -> Response:
    return PlainTextResponse("no", 413, headers={"Connection": "close"})


async def refuse_midway(request: Request) -> Response:
    async for piece in request.stream():
        if piece:
            break
    return PlainTextResponse("no", 400)


async def take(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@contextmanager
def served(wrapper: Callable[[ASGIApp], ASGIApp]) -> Iterator[int]:
    routes = [
        Route(f"/{f.__name__}", f, methods=["POST", "GET"]) for f in (refuse, refuse_midway, take)
    ]
    config = uvicorn.Config(wrapper(Starlette(routes=routes)), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(wrapped) as found:
        yield found


def send_all_then_read(port: int, path: str, body: bytes = BODY) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        head = f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body)
        return raw.recv(1 << 16)


@pytest.mark.parametrize(("path", "status"), [("refuse", b"413"), ("refuse_midway", b"400")])
def test_a_client_that_sends_all_before_it_reads(port: int, path: str, status: bytes) -> None:
    for _ in range(5):
        assert send_all_then_read(port, path).split()[1] == status


def test_without_it_the_connection_breaks() -> None:
    """What the wrapper is for: should servers do this by themselves one day, it can go."""
    with served(lambda app: app) as bare, pytest.raises(ConnectionError):
        send_all_then_read(bare, "refuse", bytes(64 << 20))  # more than lies between the two


def test_the_connection_can_be_used_again(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.post("/refuse_midway", content=BODY).status_code == 400
        assert client.post("/take", content=BODY).text == str(len(BODY))
        assert client.get("/missing").status_code == 404


def test_who_never_ends_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nxx")
        said = b""
        while piece := raw.recv(1 << 16):
            said += piece
    assert said.startswith(b"HTTP/1.1 413")
    assert said.endswith(b"no")


def test_who_asks_first_need_not_send(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(
            b"POST /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert raw.recv(1 << 16).startswith(b"HTTP/1.1 413")
