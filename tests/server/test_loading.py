"""Models that load when they are asked for, and what `/health` and `/metrics` tell of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from support.tiny_artifacts import register_model
from support.tiny_server import Running, running
from support.waiting import wait_until

HELLO: Any = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"
NAMES = ["village", "city"]
SMALL: Any = {"slots": 1}


@pytest.fixture(scope="module")
def home(tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("home")
    for name in NAMES:
        register_model(Workspace(made), tiny_model, name)
    return made


@pytest.fixture
def lazy(tiny_model: ServableModel, home: Path) -> Iterator[Running]:
    with running(tiny_model.folder, home, names=NAMES, engine=SMALL) as made:
        yield made


def ask(server: Running, model: str, **options: Any) -> httpx.Response:
    body = {"model": model, "messages": HELLO, "temperature": 0, "max_tokens": 4, **options}
    return server.post(CHAT, json=body)


def engines(server: Running) -> dict[str, int]:
    states: dict[str, int] = server.get("/health").json()["engines"]
    return {state: count for state, count in states.items() if count}


def figures(server: Running) -> dict[tuple[str, ...], float]:
    """All samples by name and the values of their labels."""
    text = server.get("/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_first_is_loaded_and_the_others_are_when_asked(lazy: Running) -> None:
    assert engines(lazy) == {"up": 1, "idle": 1}
    assert lazy.get("/health").status_code == 200
    assert len(lazy.workers()) == 1
    assert ask(lazy, "village").status_code == 200
    assert len(lazy.workers()) == 1
    assert ask(lazy, "city").status_code == 200
    assert engines(lazy) == {"up": 2}
    assert len(lazy.workers()) == 2


def test_unused_models_are_unloaded_and_come_back(tiny_model: ServableModel, home: Path) -> None:
    options: Any = {"server": {"idle_minutes": 0.01}, "engine": SMALL, "names": NAMES}
    with running(tiny_model.folder, home, **options) as server:
        wait_until(lambda: not server.workers())
        assert engines(server) == {"idle": 2}
        assert server.get("/health").json()["status"] == "ok"
        assert ask(server, "city").status_code == 200


def test_a_model_that_can_never_fit_ends_the_start(tiny_model: ServableModel, home: Path) -> None:
    import json

    from support import tiny_server

    options = json.dumps({"server": {"memory": 1}, "names": NAMES})
    command = [sys.executable, tiny_server.__file__, str(tiny_model.folder), str(home), options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "village" in result.stderr
    assert "--memory" in result.stderr
    assert result.stdout == ""


def test_metrics_count_what_happened(lazy: Running) -> None:
    assert httpx.get(f"{lazy.url}/metrics").status_code == 401
    before = figures(lazy)
    assert before["kajiya_engine_up", "0"] == 1
    assert before["kajiya_engine_up", "1"] == 0
    assert before["kajiya_engine_state", "1", "idle"] == 1
    assert before["kajiya_model_engine", "1", "city"] == 1
    assert before["kajiya_engine_memory_bytes", "0"] > 10**6
    used = ask(lazy, "village", max_tokens=5).json()["usage"]
    assert ask(lazy, "village", n=2, max_tokens=3).status_code == 200
    assert ask(lazy, "village", messages=[{"role": "user", "content": "x" * 40_000}]).is_error
    assert ask(lazy, "nobody").status_code == 404
    with lazy.openai() as client:
        stream = client.chat.completions.create(
            model="village", messages=HELLO, max_tokens=16000, stream=True, temperature=0
        )
        next(stream)
        assert figures(lazy)["kajiya_engine_requests", "0", "running"] == 1
        stream.close()
    wait_until(lambda: ("kajiya_requests_total", "village", "left") in figures(lazy))
    after = figures(lazy)
    assert after["kajiya_requests_total", "village", "ok"] == 2
    assert after["kajiya_requests_total", "village", "context_length"] == 1
    assert after["kajiya_requests_total", "village", "left"] == 1
    assert after["kajiya_prompt_tokens_total", "village"] == 4 * used["prompt_tokens"]
    assert after["kajiya_completion_tokens_total", "village"] == 5 + 2 * 3
    assert after["kajiya_time_to_first_token_seconds_count", "village"] in (3, 4)
    assert after["kajiya_time_per_output_token_seconds_count", "village"] == 3
    assert not any("nobody" in key for key in after)
    (worker,) = lazy.workers()
    worker.kill()
    worker.wait()
    wait_until(lambda: figures(lazy).get(("kajiya_engine_state", "0", "failing")) == 1)
    assert lazy.get("/health").status_code == 503
    assert ask(lazy, "village").status_code == 200
    assert figures(lazy)["kajiya_engine_restarts_total", "0"] == 1


def test_metrics_hold_no_secret(lazy: Running) -> None:
    secret: Any = [{"role": "user", "content": "quicksilver"}]
    assert ask(lazy, "village", messages=secret).status_code == 200
    text = lazy.get("/metrics").text
    assert "quicksilver" not in text
    assert lazy.key not in text
    assert str(lazy.home) not in text
