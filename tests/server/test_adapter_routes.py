"""Adapters that are added, mixed and removed over the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import openai
import pytest

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.store.artifacts import ArtifactStore
from support.tiny_artifacts import register_adapter, register_model
from support.tiny_server import Running, running
from support.waiting import wait_until

HELLO: Any = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def studio(
    tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Serves "village" with "legal:1", and "city", another base; "tone:1", "tone:2" and "away:1" wait."""
    home = tmp_path_factory.mktemp("home")
    workspace = Workspace(home)
    base = register_model(workspace, tiny_model, "village")
    register_model(workspace, tiny_model, "city")
    elsewhere = register_model(workspace, tiny_model, "elsewhere")
    register_adapter(workspace, base, tiny_model, "legal", " legal")
    register_adapter(workspace, base, tiny_model, "tone", " dog")
    register_adapter(workspace, base, tiny_model, "tone", " lazy")
    register_adapter(workspace, elsewhere, tiny_model, "away", " dog")
    names = ["village", "legal", "city"]
    with running(tiny_model.folder, home, names=names, server={"max_pending": 3}) as made:
        yield made


def said(server: Running, model: str, tokens: int = 1) -> str:
    body = {"model": model, "messages": HELLO, "temperature": 0, "max_tokens": tokens}
    response = server.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def remove(server: Running, reference: str) -> httpx.Response:
    return httpx.delete(f"{server.url}/v1/adapters/{reference}", headers=server.headers, timeout=60)


def added(server: Running, reference: str) -> dict[str, Any]:
    response = server.post("/v1/adapters", json={"adapter": reference})
    assert response.status_code == 201, response.text
    card: dict[str, Any] = response.json()
    return card


def test_what_is_served_is_listed(studio: Running) -> None:
    card = {"id": "legal:1", "object": "adapter", "models": ["legal"]}
    assert studio.get("/v1/adapters").json() == {"object": "list", "data": [card]}
    assert studio.get("/v1/adapters/legal:1").json() == card
    assert refusal(studio.get("/v1/adapters/tone:1")) == (404, "not_found")


def test_names_versions_and_mixtures(studio: Running) -> None:
    assert said(studio, "village") == " the"
    assert said(studio, "village:1") == " the"
    for name in ("legal", "legal:1", "village+legal", "village+legal:1", "village+legal:1:1.0"):
        assert said(studio, name) == " legal"
    assert said(studio, "village+legal:0.1") == " the"
    assert said(studio, "legal+legal:-1.0") == " the"
    for name, code in (
        ("nothing", "model_not_found"),
        ("village:2", "model_not_found"),
        ("nothing+legal", "model_not_found"),
        ("village+tone", "adapter_not_found"),
        ("village+legal:2", "adapter_not_found"),
        ("city+legal", "adapter_not_found"),
    ):
        response = studio.post(CHAT, json={"model": name, "messages": HELLO})
        assert refusal(response) == (404, code)
        assert response.json()["error"]["param"] == "model"
    response = studio.post(CHAT, json={"model": "village+legal:99.0", "messages": HELLO})
    assert refusal(response) == (400, "invalid_model")
    assert studio.get("/v1/models/village+legal:0.5").json()["id"] == "village+legal:0.5"


def test_adapters_come_and_go(studio: Running) -> None:
    assert added(studio, "tone:1") == {"id": "tone:1", "object": "adapter", "models": ["tone:1"]}
    assert said(studio, "village+tone") == " dog"
    assert added(studio, "tone")["models"] == ["tone"]
    assert said(studio, "tone") == " lazy"
    assert said(studio, "village+tone") == " lazy"
    assert said(studio, "village+tone:1:0.4+tone:2:0.9") == " lazy"
    assert said(studio, "tone:1") == " dog"
    assert refusal(studio.post("/v1/adapters", json={"adapter": "tone"})) == (409, "conflict")
    assert said(studio, "legal") == " legal"
    assert remove(studio, "tone:2").json()["deleted"]
    assert refusal(remove(studio, "tone:2")) == (404, "not_found")
    assert said(studio, "village+tone") == " dog"
    with closing(studio.openai()) as client:
        assert "tone" not in [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="tone", messages=HELLO)
    assert remove(studio, "tone:1").status_code == 200


def test_an_adapter_that_answers_is_not_removed(studio: Running) -> None:
    body: Any = {"model": "legal", "messages": HELLO, "max_tokens": 16000, "stream": True}
    body["temperature"] = 0  # for ever " legal"
    url, headers = studio.url + CHAT, studio.headers
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("data: ")
        assert refusal(remove(studio, "legal:1")) == (409, "conflict")
        assert said(studio, "legal") == " legal"
    wait_until(lambda: remove(studio, "legal:1").status_code == 200)
    assert added(studio, "legal")["id"] == "legal:1"
    assert said(studio, "legal") == " legal"


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("nothing", 404),
        ("village", 404),  # a model, not an adapter
        ("tone:9", 404),
        ("away", 409),  # its base is not served
        ("../../etc", 400),
        ("/etc/passwd", 400),
        ("..\\tone", 400),
        ("tone%2f..", 400),
        ("to\0ne", 400),
        ("starter:gemma-3-270m", 400),
        ("hf:org/model", 400),
        ("tone:1:0.5", 400),
        ("tone:-1", 400),
        ("\uff54one", 400),
        ("", 400),
        ("x" * 201, 400),
        (["tone"], 400),
        (None, 400),
    ],
)
def test_only_registered_adapters_of_this_workspace(
    studio: Running, reference: Any, status: int
) -> None:
    response = studio.post("/v1/adapters", json={"adapter": reference})
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert str(studio.home) not in response.text


def test_a_damaged_adapter_is_refused_and_nothing_stops(
    studio: Running, tiny_model: ServableModel
) -> None:
    workspace = Workspace(studio.home)
    base = ArtifactStore(workspace).get("village", "model")
    broken = register_adapter(workspace, base, tiny_model, "broken", " dog")
    (broken.folder / "adapter.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    assert refusal(studio.post("/v1/adapters", json={"adapter": "broken"})) == (400, "invalid_file")
    assert said(studio, "legal") == " legal"
    assert str(studio.home) not in studio.get("/v1/models").text


def test_added_adapters_survive_a_crash_of_their_engine(studio: Running) -> None:
    added(studio, "tone")
    for worker in studio.workers():
        worker.kill()
        worker.wait()
    assert said(studio, "tone") == " lazy"
    assert said(studio, "legal") == " legal"
    assert remove(studio, "tone:2").status_code == 200
