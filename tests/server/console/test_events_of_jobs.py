"""Server-sent events: everything once, in order, whoever left in between."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from kajiya.core.events import EventLog, Log, Metric
from kajiya.jobs.status import State, Status, write_status
from kajiya.server.console.events import event_stream, follow_file, follow_job, last_position


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job that has ended after 3,000 steps and a word in Japanese."""
    folder = tmp_path / "job"
    folder.mkdir()
    log = EventLog(folder / "events.jsonl")
    for step in range(3000):
        log.append(Metric(step=step, values={"loss": 1 / (step + 1), "padding": 0.123456789}))
    log.append(Log(message="終わりました"))
    write_status(folder, Status(state=State.SUCCEEDED, created=1.0, finished=2.0))
    return folder


async def ask(folder: Path, number: str = "", query: str = "") -> list[dict[str, str]]:
    async def handler(request: Request) -> Response:
        return follow_job(request, folder)

    return await read(handler, number, query)


async def read(handler: Any, number: str = "", query: str = "") -> list[dict[str, str]]:
    """The messages of a stream as a browser takes them."""
    app = FastAPI()
    app.state.console = SimpleNamespace(gateway=SimpleNamespace(draining=False))
    app.add_api_route("/", handler, response_model=None)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = {"Last-Event-ID": number} if number else {}
        response = await client.get(f"/{query}", headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if "event:" in block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def events(messages: list[dict[str, str]]) -> list[Any]:
    return [one for m in messages if m["event"] == "events" for one in json.loads(m["data"])]


async def test_everything_is_told_in_pieces_and_then_it_ends(job: Path) -> None:
    messages = await ask(job)
    assert messages[0]["event"] == "state"
    assert json.loads(messages[0]["data"])["state"] == "succeeded"
    assert messages[-1]["event"] == "end"
    told = events(messages)
    assert [one["step"] for one in told[:-1]] == list(range(3000))
    assert told[-1]["message"] == "終わりました"
    pieces = [message for message in messages if message["event"] == "events"]
    assert len(pieces) > 1
    assert int(pieces[-1]["id"]) == (job / "events.jsonl").stat().st_size


async def test_who_comes_back_is_told_the_rest_and_nothing_twice(job: Path) -> None:
    messages = await ask(job)
    for message in (m for m in messages if m["event"] == "events"):
        before = events(messages[: messages.index(message) + 1])
        after = events(await ask(job, message["id"]))
        assert before + after == events(messages)
        assert events(await ask(job, query=f"?from={message['id']}")) == after


@pytest.mark.parametrize("number", ["x", "-1", "1e3", "9" * 40, "１２"])
def test_a_number_that_is_none_begins_anew(number: str) -> None:
    headers = [(b"last-event-id", number.encode("latin-1", "replace"))]
    for scope in ({"headers": headers}, {"headers": [], "query_string": f"from={number}".encode()}):
        assert last_position(Request({"type": "http", "query_string": b"", **scope})) == 0


async def test_what_is_no_number_is_null(tmp_path: Path, job: Path) -> None:
    EventLog(job / "events.jsonl").append(Metric(step=1, values={"loss": math.nan, "x": math.inf}))
    assert events(await ask(job))[-1]["values"] == {"loss": None, "x": None}


async def test_a_log_is_told_without_cutting_letters(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    text = "鍛冶屋🔨" * 60_000
    path.write_text(text + "\n", encoding="utf-8")

    async def handler(request: Request) -> Response:
        return event_stream(request, follow_file(path, last_position(request), lambda: True))

    messages = await read(handler)
    parts = [json.loads(message["data"]) for message in messages if message["event"] == "text"]
    assert "".join(parts) == text + "\n"
    assert len(parts) > 2
    again = await read(handler, messages[0]["id"])
    assert json.loads(again[0]["data"]) == parts[1]
