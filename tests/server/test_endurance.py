"""Clients that leave or dawdle, engines that die, queues that fill, servers that are stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import Any

import httpx
import openai
import pytest

from kajiya.inference.bundle import ServableModel
from support.tiny_llama import STORY
from support.tiny_server import Running, running
from support.waiting import wait_until

HELLO: Any = [{"role": "user", "content": "hello"}]
ENDLESS: Any = {
    "model": "tiny",
    "messages": HELLO,
    "temperature": 0,
    "max_tokens": 16000,
    "stream": True,
}
SHORT: Any = {**ENDLESS, "max_tokens": 2, "stream": False}
CHAT = "/v1/chat/completions"
WIDE = "w" * 4000


@pytest.fixture(scope="module")
def narrow(
    tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One slot, and room for one more request in the queue."""
    options: Any = {
        "server": {"max_pending": 2, "drain_seconds": 1},
        "engine": {"slots": 1},
        "wide": WIDE,
    }
    with running(tuned_model.folder, tmp_path_factory.mktemp("home"), **options) as made:
        yield made


def begin(server: Running, stack: ExitStack) -> Iterator[str]:
    """A stream whose response has begun."""
    response = stack.enter_context(
        httpx.stream("POST", server.url + CHAT, headers=server.headers, json=ENDLESS, timeout=60)
    )
    assert response.status_code == 200
    lines = response.iter_lines()
    assert next(lines).startswith("data: ")
    return lines


def test_a_full_queue_says_when_to_come_back_and_leaving_makes_room(narrow: Running) -> None:
    for _ in range(3):
        with ExitStack() as stack:
            streams = [begin(narrow, stack), begin(narrow, stack)]
            refused = narrow.post(CHAT, json=SHORT)
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.json()["error"]["code"] == "queue_full"
            with narrow.openai() as client, pytest.raises(openai.RateLimitError):
                client.chat.completions.create(**SHORT)
            assert all(next(stream) == "" for stream in streams)
        wait_until(lambda: narrow.post(CHAT, json=SHORT).status_code == 200)


def test_leaving_before_a_whole_answer_frees_the_slot(narrow: Running) -> None:
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            narrow.post(CHAT, json={**ENDLESS, "stream": False}, timeout=0.3)
    wait_until(lambda: narrow.post(CHAT, json={**SHORT, "n": 2}).status_code == 200)


def test_a_reader_that_stops_reading_keeps_nobody_waiting(narrow: Running) -> None:
    host, port = narrow.url.removeprefix("http://").split(":")
    body = json.dumps({**ENDLESS, "model": WIDE, "max_tokens": 4000}).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {narrow.key}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        raw.sendall(head.encode() + body)
        wait_until(lambda: 'state="running"} 1.0' in narrow.get("/metrics").text)
        # The answer is made to its end though nobody takes it, and the queue is free again.
        wait_until(lambda: narrow.post(CHAT, json={**SHORT, "n": 2}).status_code == 200)
        received = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b"data: [DONE]" in received
    # What piled up in the meantime came as one chunk, not as thousands that waited in memory.
    assert max(len(line) for line in received.splitlines()) > len(WIDE) + 1000


def test_a_killed_engine_ends_its_streams_cleanly_and_comes_back(server: Running) -> None:
    (worker,) = server.workers()
    with server.openai() as client:
        stream = client.chat.completions.create(**ENDLESS)
        next(stream)
        worker.kill()
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
        assert caught.value.code == "engine_unavailable"
        assert str(server.home) not in str(caught.value)
        health = server.get("/health")
        assert health.status_code == 503
        assert health.json()["status"] == "degraded"
        assert health.json()["engines"]["failing"] == 1
        answer = client.chat.completions.create(**SHORT)
        assert answer.choices[0].message.content == " the quick"
    assert server.get("/health").status_code == 200


def test_a_killed_engine_is_a_503_for_those_who_wait_for_a_whole_answer(narrow: Running) -> None:
    def ask() -> httpx.Response:
        # The question below, which looks for this one, may for a moment take its place.
        while (got := narrow.post(CHAT, json={**ENDLESS, "stream": False})).status_code == 429:
            pass
        return got

    (worker,) = narrow.workers()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask)
        # Two more fit only as long as the first has not arrived.
        wait_until(lambda: narrow.post(CHAT, json={**SHORT, "n": 2}).status_code == 429)
        worker.kill()
        response = answer.result()
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "engine_unavailable"
    assert narrow.post(CHAT, json=SHORT).status_code == 200


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopping_lets_running_answers_finish(
    tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory, sign: signal.Signals
) -> None:
    with running(tuned_model.folder, tmp_path_factory.mktemp("home")) as server:
        (worker,) = server.workers()
        with server.openai() as client:
            stream = client.chat.completions.create(**{**ENDLESS, "max_tokens": 1000})
            next(stream)
            server.process.send_signal(sign)
            text = "".join(
                chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices
            )
        assert text.startswith(STORY)
        server.process.wait(30)
        assert server.process.returncode == (0 if sign == signal.SIGINT else -signal.SIGTERM)
        wait_until(lambda: not worker.is_running())


def test_while_answers_finish_new_requests_are_refused_cleanly(
    tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options: Any = {"server": {"drain_seconds": 600}}
    with (
        running(tuned_model.folder, tmp_path_factory.mktemp("home"), **options) as server,
        ExitStack() as stack,
    ):
        stream = begin(server, stack)
        server.process.terminate()
        wait_until(lambda: server.get("/health").json()["status"] == "stopping")
        assert server.get("/health").status_code == 503
        refused = server.post(CHAT, json=SHORT)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "shutting_down"
        assert int(refused.headers["Retry-After"]) > 0
        with server.openai() as client, pytest.raises(openai.InternalServerError):
            client.chat.completions.create(**SHORT)
        assert all("error" not in line for line in islice(stream, 10))
        server.process.terminate()  # told twice, it stops at once
        server.process.wait(30)


def test_a_killed_server_takes_its_workers_along(
    tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(tuned_model.folder, tmp_path_factory.mktemp("home")) as server:
        (worker,) = server.workers()
        os.kill(server.process.pid, signal.SIGKILL)
        wait_until(lambda: not worker.is_running() or worker.status() == "zombie")
