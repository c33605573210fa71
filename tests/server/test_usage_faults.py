"""What goes wrong while usage is written down: what the client sees, and that each call is one row."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from kajiya.inference.bundle import ServableModel
from kajiya.store.database import Database
from support.accounts import Holder
from support.tiny_server import Running, running
from support.waiting import wait_until

CHAT = "/v1/chat/completions"
SHORT: Any = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "hello"}],
    "temperature": 0,
    "max_tokens": 3,
}
LONG: Any = {**SHORT, "max_tokens": 300, "stream": True, "stream_options": {"include_usage": True}}
ENDLESS: Any = {**LONG, "max_tokens": 16000}


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    path.write_text("0")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def server(tuned_model: ServableModel, home: Path, clock: Path) -> Iterator[Running]:
    with running(tuned_model.folder, home, clock=str(clock)) as made:
        yield made


@pytest.fixture
def database(home: Path, server: Running) -> Database:
    return Database.open_file(home / "accounts.db")


@pytest.fixture
def who(server: Running, database: Database) -> Holder:
    return Holder(server, database, "somebody")


@contextmanager
def stream(server: Running, who: Holder, body: Any) -> Iterator[Iterator[Any]]:
    """The events of a stream that has begun, as JSON; None for its proper end."""
    with httpx.stream(
        "POST", server.url + CHAT, headers=who.headers, json=body, timeout=60
    ) as response:
        assert response.status_code == 200
        events = (
            None if line == "data: [DONE]" else json.loads(line.removeprefix("data: "))
            for line in response.iter_lines()
            if line
        )
        assert next(events)["choices"]
        yield events


def ask(server: Running, who: Holder) -> httpx.Response:
    return server.post(CHAT, headers=who.headers, json=SHORT)


def test_a_killed_worker(server: Running, who: Holder) -> None:
    (worker,) = server.workers()
    with stream(server, who, ENDLESS) as events:
        next(events)
        worker.kill()
        *_, last = events
    assert last["error"]["code"] == "engine_unavailable"
    assert ask(server, who).status_code == 200
    wait_until(lambda: who.states() == ["error", "ok"])
    assert who.rows()[0]["error"] == "engine_unavailable"
    assert who.rows()[0]["completion_tokens"] > 0


def test_a_killed_gateway(
    tuned_model: ServableModel, home: Path, server: Running, who: Holder
) -> None:
    assert ask(server, who).status_code == 200
    wait_until(lambda: who.states() == ["ok"])
    whole = who.rows()[0]
    with stream(server, who, ENDLESS) as events, pytest.raises(httpx.RemoteProtocolError):
        os.kill(server.process.pid, signal.SIGKILL)
        for _ in events:
            pass
    assert who.states() == ["ok", "running"]
    with running(tuned_model.folder, home) as again:
        assert who.states() == ["ok", "interrupted"]
        assert ask(again, who).status_code == 200
        wait_until(lambda: who.states() == ["ok", "interrupted", "ok"])
    assert who.rows()[0] == whole
    assert not list(home.glob(".accounts.db.*.alive"))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped(
    tuned_model: ServableModel, home: Path, sign: signal.Signals
) -> None:
    with running(tuned_model.folder, home, server={"drain_seconds": 0}) as server:
        who = Holder(server, Database.open_file(home / "accounts.db"), "somebody")
        with stream(server, who, ENDLESS) as events, contextlib.suppress(httpx.RemoteProtocolError):
            next(events)
            server.process.send_signal(sign)
            for _ in events:
                pass
        server.process.wait(30)
    assert who.states() == ["cancelled"]
    assert who.rows()[0]["completion_tokens"] > 0
    assert not list(home.glob(".accounts.db.*.alive"))


def test_two_servers_on_one_folder_leave_each_others_rows_alone(
    tuned_model: ServableModel, home: Path, server: Running, who: Holder
) -> None:
    with stream(server, who, ENDLESS) as events:
        with running(tuned_model.folder, home) as other:
            assert who.states() == ["running"]
            assert ask(other, who).status_code == 200
            wait_until(lambda: who.states() == ["running", "ok"])
        next(events)
    wait_until(lambda: who.states() == ["cancelled", "ok"])


@contextmanager
def full_disk(server: Running) -> Iterator[None]:
    """No file of the server may grow: for SQLite the same as a disk without space."""
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked_database(home: Path) -> Iterator[None]:
    """Another program writes into the database and does not come to an end."""
    connection = sqlite3.connect(home / "accounts.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.mark.parametrize("fault", ["full disk", "locked database"])
def test_usage_that_cannot_be_written(server: Running, home: Path, who: Holder, fault: str) -> None:
    with stream(server, who, LONG) as events:
        with full_disk(server) if fault == "full disk" else locked_database(home):
            refused = ask(server, who)
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "database_unavailable"
            assert "nothing is answered unrecorded" in refused.json()["error"]["message"]
            assert int(refused.headers["Retry-After"]) > 0
            assert str(home) not in refused.text
            # What runs already comes to its end, and what needs no writing is answered.
            *_, usage, last = events
            assert last is None
            assert server.get("/v1/models", headers=who.headers).status_code == 200
            assert server.get("/health").status_code == 200
            assert who.states() == ["running"]
        wait_until(lambda: who.states() == ["ok"])
    (row,) = who.rows()
    assert row["completion_tokens"] == usage["usage"]["completion_tokens"] == 300
    assert row["prompt_tokens"] == usage["usage"]["prompt_tokens"]
    assert ask(server, who).status_code == 200
    wait_until(lambda: who.states() == ["ok", "ok"])


@pytest.mark.parametrize("days", [-400, 400])
def test_a_moved_clock(
    server: Running, database: Database, clock: Path, who: Holder, days: int
) -> None:
    once = Holder(server, database, "once", rpm_limit=1)
    long = Holder(server, database, "long")
    assert ask(server, once).status_code == 200
    with stream(server, long, LONG) as events:
        clock.write_text(str(days * 86400))
        *_, last = events
    assert last is None
    refused = ask(server, once)  # a minute is a minute, whatever the clock says
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert ask(server, who).status_code == 200
    clock.write_text("0")
    assert ask(server, who).status_code == 200
    wait_until(lambda: [*long.states(), *who.states()] == ["ok"] * 3)
    assert len(once.rows()) == 1
    assert 0 < long.rows()[0]["seconds"] < 60
    assert long.rows()[0]["completion_tokens"] == 300
    assert len({row["day"] for row in who.rows()}) == 2
