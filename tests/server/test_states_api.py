"""`return_state`, `state` and /v1/states: a conversation goes on where it was, for its own key only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors import safe_open

from kajiya.core.workspace import Workspace
from kajiya.server.access.caller import KeySettings
from kajiya.server.access.gate import open_accounts
from kajiya.server.access.keyring import Keyring
from support.rwkv_folders import make_rwkv
from support.tiny_server import Running, running

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A random RWKV-7, exact, with room for a megabyte of states a key."""
    folder = make_rwkv(tmp_path_factory.mktemp("rwkv"))
    options: Any = {"engine": {"weights": "fp32", "slots": 2}, "server": {"states": 1}}
    with running(folder, tmp_path_factory.mktemp("home"), **options) as made:
        yield made


@pytest.fixture(autouse=True)
def _empty(recurrent: Running) -> Iterator[None]:
    yield
    for card in recurrent.get("/v1/states").json()["data"]:
        delete(recurrent, card["id"], recurrent.headers)


def ask(server: Running, **body: Any) -> Any:
    asked = {"model": "tiny", "prompt": "hello", "temperature": 0, "max_tokens": 6, **body}
    response = server.post(COMPLETIONS, json=asked)
    assert response.status_code == 200, response.text
    return response.json()


def delete(server: Running, id: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.delete(f"{server.url}/v1/states/{id}", headers=headers)


def other_key(server: Running) -> dict[str, str]:
    database = open_accounts(Workspace(server.home))
    _, secret = Keyring(database).create(f"other{server.process.pid}", KeySettings())
    database.close()
    return {"Authorization": f"Bearer {secret}"}


def test_a_conversation_goes_on_where_it_was(recurrent: Running) -> None:
    first = ask(recurrent, return_state=True)
    state = first["state"]
    assert first["choices"][0]["text"] == ask(recurrent)["choices"][0]["text"]
    assert "state" not in ask(recurrent)
    on = [ask(recurrent, prompt=" again", state=state) for _ in range(2)]
    assert on[0]["choices"][0]["text"] == on[1]["choices"][0]["text"]
    assert on[0]["choices"][0]["text"] != ask(recurrent, prompt=" again")["choices"][0]["text"]
    assert on[0]["usage"] == ask(recurrent, prompt=" again")["usage"]
    further = ask(recurrent, prompt=" more", state=state, return_state=True)["state"]
    cards = {card["id"]: card for card in recurrent.get("/v1/states").json()["data"]}
    assert set(cards) == {state, further}
    assert cards[state]["model"] == "tiny"
    assert cards[further]["tokens"] > cards[state]["tokens"] > 6


def test_streams_and_chats_keep_states_too(recurrent: Running) -> None:
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": "tiny", "messages": messages, "max_tokens": 4, "stream": True}
    lines = recurrent.post(CHAT, json={**body, "return_state": True}).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    (told,) = {event["state"] for event in events if "state" in event}
    assert events[-1]["choices"][0]["finish_reason"] and events[-1]["state"] == told
    answer = recurrent.post(CHAT, json={**body, "stream": False, "state": told})
    assert answer.json()["usage"]["completion_tokens"] == 4


def test_states_are_listed_given_out_and_forgotten(recurrent: Running, tmp_path: Path) -> None:
    state = ask(recurrent, return_state=True)["state"]
    card = recurrent.get(f"/v1/states/{state}").json()
    content = recurrent.get(f"/v1/states/{state}/content")
    assert len(content.content) == card["bytes"]
    (tmp_path / "s.safetensors").write_bytes(content.content)
    with safe_open(tmp_path / "s.safetensors", framework="np") as opened:
        assert set(opened.keys()) == {"att_shift", "wkv", "ffn_shift"}
    assert delete(recurrent, state, recurrent.headers).json()["deleted"] is True
    assert delete(recurrent, state, recurrent.headers).status_code == 404
    gone = recurrent.post(COMPLETIONS, json={"model": "tiny", "prompt": "a", "state": state})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "state_not_found")


def test_what_one_key_kept_is_not_there_for_another(recurrent: Running) -> None:
    state = ask(recurrent, return_state=True)["state"]
    other = other_key(recurrent)
    assert recurrent.get("/v1/states", headers=other).json()["data"] == []
    for path in (f"/v1/states/{state}", f"/v1/states/{state}/content"):
        assert recurrent.get(path, headers=other).status_code == 404
    assert delete(recurrent, state, other).status_code == 404
    body = {"model": "tiny", "prompt": "a", "state": state}
    assert recurrent.post(COMPLETIONS, json=body, headers=other).status_code == 404
    assert recurrent.get(f"/v1/states/{state}").status_code == 200


@pytest.mark.parametrize(
    "id",
    [
        "..",
        "../administrator/x",
        "state-",
        "state-" + "0" * 24,
        "a\0b",
        "%2e%2e",
        "state-" + "G" * 24,
    ],
)
def test_names_that_are_none(recurrent: Running, id: str) -> None:
    response = recurrent.post(COMPLETIONS, json={"model": "tiny", "prompt": "a", "state": id})
    assert (response.status_code, response.json()["error"]["param"]) == (404, "state")


def test_what_cannot_be_kept_is_refused(recurrent: Running, server: Running) -> None:
    for more in ({"n": 2}, {"prompt": ["a", "b"]}):
        body = {"model": "tiny", "prompt": "a", "return_state": True, **more}
        assert recurrent.post(COMPLETIONS, json=body).status_code == 400
    for more in ({"return_state": True}, {"state": "state-" + "0" * 24}):
        body = {"model": "tiny", "prompt": "a", "max_tokens": 2, **more}
        refused = server.post(COMPLETIONS, json=body)
        assert refused.json()["error"]["code"] == "unsupported_parameter"
    full = None
    for _ in range(30):
        full = recurrent.post(
            COMPLETIONS,
            json={"model": "tiny", "prompt": "a", "max_tokens": 1, "return_state": True},
        )
        if full.status_code != 200:
            break
    assert full is not None
    assert full.json()["error"]["code"] == "states_full"
