"""Who is let in. Every route is walked, so that none can be forgotten."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from kajiya.core.errors import ConfigError, ConflictError
from kajiya.core.workspace import Workspace
from kajiya.server.access.caller import KeySettings
from kajiya.server.access.clock import moment, now
from kajiya.server.access.gate import Gate
from kajiya.server.access.keyring import Keyring
from kajiya.server.access.ledger import Ledger
from kajiya.server.app import create_app
from kajiya.server.keys import load_or_make_key
from kajiya.server.security import RULES, Access, Guard, check_loopback
from kajiya.server.serve import listen
from kajiya.server.settings import ServerSettings
from kajiya.store.database import Database
from support.tiny_server import Running

# Nobody knocks at the gate while the routes are looked at.
APP = create_app(ServerSettings(), {}, cast(Gate, None), Workspace(Path("unused")))
ROUTES = {
    f"{method} {route.path}"
    for route in APP.routes
    if isinstance(route, APIRoute)
    for method in route.methods
}
PROTECTED = sorted(route for route in ROUTES if RULES.get(route) is not Access.OPEN)
WRONG: list[dict[str, Any]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer kj-wrong"},
    {"Authorization": "Bearer キー".encode()},
    {"Authorization": "Basic kj-wrong"},
    {"X-Api-Key": "kj-wrong"},
]


def test_every_route_has_a_rule_and_nothing_else_is_mounted() -> None:
    assert set(RULES) == ROUTES
    assert all(isinstance(route, APIRoute) for route in APP.routes)
    open_to_all = {route for route, access in RULES.items() if access is Access.OPEN}
    assert open_to_all == {"GET /health", "GET /openapi.json", "GET /docs"}


@pytest.mark.parametrize("headers", WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize("route", PROTECTED)
def test_without_a_key_nothing_is_served(
    server: Running, route: str, headers: dict[str, Any]
) -> None:
    response = ask(server, route, headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.fixture(scope="module")
def keys(server: Running) -> dict[str, str]:
    """Secrets of keys in all states."""
    keyring = Keyring(Database.open_file(server.home / "accounts.db"))
    made = {
        name: keyring.create(f"walk-{name}", KeySettings(), duration)[1]
        for name, duration in (
            ("good", "1d"),
            ("revoked", None),
            ("rotated", None),
            ("expired", "1m"),
        )
    }
    keyring.revoke("walk-revoked")
    keyring.rotate("walk-rotated")
    with sqlite3.connect(server.home / "accounts.db") as connection:
        connection.execute(
            "UPDATE keys SET expires_at = ? WHERE name = 'walk-expired'", [moment(now())]
        )
    connection.close()
    return made


@pytest.mark.parametrize("state", ["revoked", "expired", "rotated"])
@pytest.mark.parametrize("route", PROTECTED)
def test_keys_that_work_no_more(
    server: Running, keys: dict[str, str], route: str, state: str
) -> None:
    response = ask(server, route, {"Authorization": f"Bearer {keys[state]}"})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    told = {"revoked": "was revoked", "expired": "has expired", "rotated": "valid key is needed"}
    assert told[state] in response.json()["error"]["message"]


@pytest.mark.parametrize("route", PROTECTED)
def test_a_good_key_opens_what_its_rule_says(
    server: Running, keys: dict[str, str], route: str
) -> None:
    response = ask(server, route, {"Authorization": f"Bearer {keys['good']}"})
    assert (response.status_code == 403) == (RULES[route] is Access.ADMINISTRATOR)
    assert response.status_code in (200, 400, 403, 404, 422)
    assert ask(server, route, server.headers).status_code in (200, 400, 404, 422)


def test_another_owners_key_is_not_there(server: Running, keys: dict[str, str]) -> None:
    mine = {"Authorization": f"Bearer {keys['good']}"}
    for other in ("walk-revoked", "administrator", "no-such-key"):
        response = server.get("/v1/usage", headers=mine, params={"key": other})
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "key_not_found"
    assert server.get("/v1/usage", headers=mine, params={"key": "walk-good"}).status_code == 200
    for other in ("walk-revoked", "administrator"):
        assert server.get("/v1/usage", params={"key": other}).status_code == 200


async def test_the_strictest_rule_that_fits_decides(database: Database) -> None:
    async def reached(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(scope["state"]["caller"].key_id)(scope, receive, send)

    rules = {"GET /a/{x:path}": Access.KEY, "GET /a/b": Access.ADMINISTRATOR, "GET /": Access.OPEN}
    ledger = Ledger(database)
    guard = Guard(reached, Gate("kj-admin", database, ledger), 1000, rules)
    _, secret = Keyring(database).create("someone", KeySettings())
    transport = httpx.ASGITransport(guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for given, path, status in (
            (secret, "/a/c", 200),
            (secret, "/a/b", 403),
            (secret, "/a/%62", 403),
            (secret, "/elsewhere", 200),
            ("kj-admin", "/a/b", 200),
            ("kj-other", "/a/b", 401),
            ("", "/elsewhere", 401),
        ):
            response = await client.get(path, headers={"Authorization": f"Bearer {given}"})
            assert response.status_code == status
        assert response.headers["WWW-Authenticate"] == "Bearer"
    ledger.close()


def ask(server: Running, route: str, headers: dict[str, Any]) -> httpx.Response:
    method, path = route.split(" ")
    return httpx.request(
        method,
        server.url
        + path.replace("{model:path}", "tiny")
        .replace("{adapter:path}", "none")
        .replace("{state}", "none"),
        headers=headers,
    )


def test_the_key_is_looked_for_in_the_header_only(server: Running) -> None:
    for query in (f"?key={server.key}", f"?api_key={server.key}"):
        assert httpx.get(f"{server.url}/v1/models{query}").status_code == 401
    assert httpx.get(f"{server.url}/v1/nothing").status_code == 401
    assert httpx.get(f"{server.url}/health/../v1/models").status_code == 401
    assert httpx.get(f"{server.url}/%68ealth").status_code in (200, 401)
    lower = {"Authorization": f"bearer {server.key}"}
    assert httpx.get(f"{server.url}/v1/models", headers=lower).status_code == 200


def test_health_is_open_and_says_little(server: Running) -> None:
    response = httpx.get(f"{server.url}/health")
    assert response.json() == {
        "status": "ok",
        "engines": {"up": 1, "idle": 0, "starting": 0, "failing": 0},
    }


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8321", 200),
        ("evil.example", 403),
        ("evil.example:8321", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("0.0.0.0", 403),
        ("localhost:80:80", 403),
        ("localhost@evil.example", 403),
        ("", 403),
    ],
)
def test_host_names(server: Running, path: str, host: str, status: int) -> None:
    assert server.get(path, headers={**server.headers, "Host": host}).status_code == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "file://"])
def test_pages_of_other_sites_cannot_post(server: Running, origin: str) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        headers = {**server.headers, "Origin": origin}
        response = httpx.request(
            method, f"{server.url}/v1/chat/completions", headers=headers, json={}
        )
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers


def test_own_pages_can(server: Running) -> None:
    headers = {**server.headers, "Origin": server.url}
    assert server.post("/v1/chat/completions", headers=headers, json={}).status_code == 400


def test_preflights_are_not_answered(server: Running) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    response = httpx.options(f"{server.url}/v1/chat/completions", headers=headers)
    assert response.status_code == 401
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_body_that_says_it_is_too_large_is_refused_unread(server: Running) -> None:
    response = server.post("/v1/chat/completions", content=b"x" * (9 * 1024**2))
    assert response.status_code == 413


def test_a_body_that_turns_out_too_large_is_refused(server: Running) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(9):
            yield b"x" * 1024**2

    response = server.post("/v1/chat/completions", content=endless())
    assert response.status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e9", "9" * 30, "x"])
def test_odd_content_lengths(server: Running, length: str) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(
            f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
        )
        assert raw.recv(100).split()[1] in (b"400", b"413")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    key = load_or_make_key(workspace)
    assert key.startswith("kj-")
    assert len(key) >= 43
    assert load_or_make_key(workspace) == key
    assert workspace.key_file.stat().st_mode & 0o777 == 0o600
    assert load_or_make_key(Workspace(tmp_path / "other")) != key


def test_a_key_that_others_can_read_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(tmp_path)
    key = load_or_make_key(workspace)
    workspace.key_file.chmod(0o644)
    assert load_or_make_key(workspace) == key
    assert workspace.key_file.stat().st_mode & 0o777 == 0o600
    assert "could be read by others" in caplog.text
    assert key not in caplog.text


@pytest.mark.parametrize(
    "trouble", ["link", "dangling", "empty", "short", "binary", "folder", "fifo"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, trouble: str) -> None:
    path = Workspace(tmp_path).key_file
    other = tmp_path / "other"
    if trouble == "link":
        other.write_text("kj-" + "a" * 43)
        path.symlink_to(other)
    elif trouble == "dangling":
        path.symlink_to(other)
    elif trouble == "folder":
        path.mkdir()
    elif trouble == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes({"empty": b"", "short": b"kj-short", "binary": b"\xff" * 46}[trouble])
    with pytest.raises(ConfigError) as caught:
        load_or_make_key(Workspace(tmp_path))
    assert caught.value.where == str(path)
    assert not other.exists() or trouble == "link"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com", ""])
def test_other_addresses_are_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="other machines"):
        check_loopback(host)


def test_a_taken_port_is_named(server: Running) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(ConflictError, match="taken"):
        listen("127.0.0.1", port)


async def test_answers_do_not_wait_for_an_ack() -> None:
    """Nagle's algorithm is off on what comes in: a token's event is sent when it is written."""
    delayed: list[bool] = []

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        delayed.append(not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with listen("127.0.0.1", 0) as listening:
        async with await asyncio.start_server(look, sock=listening):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            await reader.read()
            writer.close()
    assert delayed == [False]
