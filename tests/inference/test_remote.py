"""The engine for endpoints elsewhere, against servers that refuse, fail and misbehave."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from kajiya.core.errors import ConfigError, EngineError
from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import (
    BusyError,
    Constraint,
    ConstraintError,
    ContextLengthError,
    RequestError,
)
from kajiya.inference.remote import RemoteEngine
from kajiya.inference.remotes import Remote
from support.asking import chunks_of, request, said
from support.scripted_endpoint import STREAM, events, refusal, scripted
from support.tiny_server import Running, running

KEY = "sk-a-secret-of-somebody"
PIECE = b'{"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}'
END = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'


@asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine("tiny", Remote(url=url, model="there", **options))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "their.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


async def test_what_is_sent(key_file: Path) -> None:
    done = events(PIECE, END, b"[DONE]")
    async with scripted(done) as server, asking(server.url, key_file=key_file) as engine:
        wish = {
            "temperature": 0.5,
            "seed": 7,
            "stop": ("x",),
            "presence_penalty": 1.0,
            "min_p": 0.1,
        }
        assert await said(engine, **wish, max_tokens=9) == "hi"
        assert await said(engine, tokens=(1, 2), max_tokens=None) == "hi"
    chat, completion = server.asked
    head, _, body = chat.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1")
    assert f"authorization: Bearer {KEY}".encode() in head.replace(b"Auth", b"auth")
    assert json.loads(body) == {
        "model": "there",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 1.0,
        "min_p": 0.1,
        "presence_penalty": 1.0,
        "seed": 7,
        "stop": ["x"],
        "max_tokens": 9,
    }
    assert completion.startswith(b"POST /v1/completions HTTP/1.1")
    sent = json.loads(completion.partition(b"\r\n\r\n")[2])
    assert sent["prompt"] == [1, 2]
    assert sent["max_tokens"] == 131_072 - 2


@pytest.mark.parametrize(
    ("constraint", "sent"),
    [
        (
            Constraint(kind="json_schema", value='{"enum":[1]}'),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"enum": [1]}, "strict": True},
                }
            },
        ),
        (
            Constraint(kind="json_schema", value='{"type":"object"}'),
            {"response_format": {"type": "json_object"}},
        ),
        (
            Constraint(kind="choice", value='["a","b"]'),
            {"structured_outputs": {"choice": ["a", "b"]}},
        ),
        (Constraint(kind="regex", value="a+"), {"structured_outputs": {"regex": "a+"}}),
        (Constraint(kind="grammar", value="g"), {"structured_outputs": {"grammar": "g"}}),
    ],
)
async def test_forms_are_sent_where_they_are_stated(
    constraint: Constraint, sent: dict[str, Any]
) -> None:
    every = ("json_schema", "regex", "choice", "grammar")
    async with scripted(events(PIECE, END, b"[DONE]")) as server:
        async with asking(server.url, constraints=every) as engine:
            await said(engine, constraint=constraint)
        async with asking(server.url) as engine:
            with pytest.raises(ConstraintError):
                await said(engine, constraint=constraint)
    (asked,) = server.asked
    assert sent.items() <= json.loads(asked.partition(b"\r\n\r\n")[2]).items()


async def test_without_a_usage_each_piece_counts() -> None:
    answer = events(PIECE, PIECE, END, b"[DONE]")
    async with scripted(answer) as server, asking(server.url) as engine:
        chunks = await chunks_of(engine)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2
    assert chunks[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("answer", "error", "said_so"),
    [
        (
            refusal("400 Bad Request", b'{"error":{"message":"no such thing"}}'),
            RequestError,
            "no such thing",
        ),
        (
            refusal(
                "400 Bad Request",
                b'{"error":{"message":"too long","code":"context_length_exceeded"}}',
            ),
            ContextLengthError,
            "too long",
        ),
        (
            refusal("400 Bad Request", b'{"error":{"message":"odd","param":"response_format"}}'),
            ConstraintError,
            "odd",
        ),
        (refusal("413 Too Large", b"<html>"), RequestError, "refused"),
        (refusal("401 Unauthorized", b'{"error":"Unauthorized"}'), EngineError, "key"),
        (refusal("404 Not Found", b'{"error":{"message":"model?"}}'), EngineError, "404 model"),
        (refusal("500 Oops", b"\xff" * 9000), EngineError, "500"),
        (
            refusal("307 Moved", b"", b"Location: http://127.0.0.1:1/v1/chat/completions"),
            EngineError,
            "307",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", EngineError, "does not answer"),
        (b"SSH-2.0-nothing here\r\n", EngineError, "does not answer"),
        (events(PIECE), EngineError, "broke off"),
        (events(PIECE, b"[DONE]"), EngineError, "broke off"),
        (events(PIECE, b"{not json"), EngineError, "does not speak"),
        (events(b'{"choices":[{"text":"\\ud83d"}]}'), EngineError, "does not speak"),
        (events(PIECE, b'{"error":{"message":"gone","code":500}}'), EngineError, "gone"),
        (
            events(PIECE, b'{"error":{"message":"no","type":"invalid_request_error"}}'),
            RequestError,
            "no",
        ),
        (STREAM + b"data: " + b"x" * 2_000_000, EngineError, "does not speak"),
    ],
)
async def test_refusals_and_failures(answer: bytes, error: type[Exception], said_so: str) -> None:
    async with scripted(answer) as server, asking(server.url) as engine:
        with pytest.raises(error, match=said_so) as caught:
            await said(engine)
        assert type(caught.value) is error
        assert engine.pending == 0
        assert engine.available == (error is not EngineError)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"Retry-After: 17", (17, 17)),
        (b"Retry-After: " + formatdate(4_000_000_000, usegmt=True).encode(), (3600, 3600)),
        (b"Retry-After: " + formatdate(0, usegmt=True).encode(), (0, 0)),
        (b"Retry-After: soon", (None, None)),
        (b"X-Other: 1", (None, None)),
    ],
)
async def test_too_many_requests_say_when_to_come_back(
    header: bytes, seconds: tuple[int | None, int | None]
) -> None:
    answer = refusal("429 Too Many", b"{}", header)
    async with scripted(answer) as server, asking(server.url) as engine:
        with pytest.raises(BusyError) as caught:
            await said(engine)
    assert caught.value.retry_after in seconds


async def test_a_silent_endpoint_is_given_up() -> None:
    async with scripted(STREAM, then_hang=True) as server:
        async with asking(server.url, seconds=1) as engine:
            with pytest.raises(EngineError, match="does not answer"):
                await said(engine)
        await server.left.wait()


async def test_leaving_closes_the_connection() -> None:
    async with scripted(events(PIECE), then_hang=True) as server, asking(server.url) as engine:
        answer = engine.generate(request())
        async for chunk in answer:
            if chunk.text:
                break
        await answer.aclose()
        await server.left.wait()
        assert engine.pending == 0


async def test_nobody_there(unused_tcp_port: int) -> None:
    engine = RemoteEngine("tiny", Remote(url=f"http://127.0.0.1:{unused_tcp_port}/v1", model="m"))
    with pytest.raises(EngineError, match="does not answer"):
        await engine.start()
    assert not engine.available
    await engine.close()


async def test_the_key_is_read_from_where_it_is_and_told_to_nobody(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("THEIR_KEY", KEY)
    refused = refusal("401 Unauthorized", b"{}")
    for place in ({"key_env": "THEIR_KEY"}, {"key_file": key_file}):
        async with scripted(refused) as server, asking(server.url, **place) as engine:
            with pytest.raises(EngineError) as caught:
                await said(engine)
        assert KEY.encode() in server.asked[0]
        assert KEY not in str(caught.value)
    assert KEY not in caplog.text
    monkeypatch.delenv("THEIR_KEY")
    key_file.chmod(0o644)
    for place in ({"key_env": "THEIR_KEY"}, {"key_file": key_file}):
        with pytest.raises(ConfigError):
            await RemoteEngine("m", Remote(url="https://h/v1", model="m", **place)).start()


@pytest.fixture(scope="module")
def narrow_server(
    tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A gateway of ours that lets one request in."""
    home = tmp_path_factory.mktemp("home")
    with running(tuned_model.folder, home, server={"max_pending": 1}) as made:
        yield made


async def test_a_full_gateway_and_a_wrong_key(narrow_server: Running, key_file: Path) -> None:
    url, home = f"{narrow_server.url}/v1", narrow_server.home
    async with asking(url, key_file=home / "key") as engine:
        with pytest.raises(EngineError, match="404"):  # it serves no model called "there"
            await said(engine)
    remote = Remote(url=url, model="tiny", key_file=home / "key")
    engine = RemoteEngine("tiny", remote)
    first = engine.generate(request(max_tokens=16000))
    async for chunk in first:
        if chunk.text:
            break
    with pytest.raises(BusyError) as caught:
        await said(engine)
    assert caught.value.retry_after == 5
    await first.aclose()
    await engine.close()
    with pytest.raises(EngineError, match="key"):
        await RemoteEngine("tiny", Remote(url=url, model="tiny", key_file=key_file)).start()
