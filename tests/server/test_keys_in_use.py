"""Keys on a running server: scopes, limits, budgets, and a ledger that says what the API said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import openai
import pytest

from kajiya.inference.bundle import ServableModel
from kajiya.server.access.keyring import Keyring
from kajiya.store.database import Database
from support.accounts import Holder
from support.postgres import PostgresServer
from support.tiny_server import Running, running
from support.waiting import wait_until

CHAT = "/v1/chat/completions"
SHORT: Any = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "hello"}],
    "temperature": 0,
    "max_tokens": 3,
}
ENDLESS: Any = {**SHORT, "max_tokens": 16000, "stream": True}
NUMBERS = count()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest,
    tuned_model: ServableModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Running, Database]]:
    """A server and its database of keys and usage, of either kind."""
    home = tmp_path_factory.mktemp("home")
    options: dict[str, Any] = {"engine": {"slots": 2}}
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        options["database"] = postgres.url(postgres.new_database())
    with running(tuned_model.folder, home, **options) as server:
        url = options.get("database", f"sqlite:///{home / 'accounts.db'}")
        yield server, Database.open_url(url)
        assert (home / "accounts.db").exists() == (request.param == "sqlite")


@pytest.fixture
def holder(served: tuple[Running, Database]) -> Callable[..., Holder]:
    return lambda **settings: Holder(*served, f"holder {next(NUMBERS)}", **settings)


@pytest.fixture
def server(served: tuple[Running, Database]) -> Running:
    return served[0]


def test_the_ledger_says_what_the_api_says(holder: Callable[..., Holder]) -> None:
    who = holder()
    with who.openai() as client:
        whole = client.chat.completions.create(**{**SHORT, "n": 2}).usage
        stream = client.chat.completions.create(
            **SHORT, stream=True, stream_options={"include_usage": True}
        )
        streamed = list(stream)[-1].usage
        several = client.completions.create(
            model="org/tuned:1", prompt=["hello", "the"], max_tokens=2, temperature=0
        ).usage
    wait_until(lambda: who.states() == ["ok"] * 3)
    for row, usage in zip(who.rows(), (whole, streamed, several), strict=True):
        assert usage is not None
        assert row["prompt_tokens"] == usage.prompt_tokens > 0
        assert row["completion_tokens"] == usage.completion_tokens > 0
        assert row["seconds"] > 0
        assert row["error"] is None
    assert [row["model"] for row in who.rows()] == ["tiny", "tiny", "org/tuned:1"]


def test_failed_and_cancelled_calls_are_in_the_ledger(
    server: Running, holder: Callable[..., Holder]
) -> None:
    who = holder()
    long = {**SHORT, "messages": [{"role": "user", "content": "hello " * 20_000}]}
    refused = server.post(CHAT, headers=who.headers, json=long)
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    with httpx.stream(
        "POST", server.url + CHAT, headers=who.headers, json=ENDLESS, timeout=60
    ) as response:
        assert next(response.iter_lines()).startswith("data: ")
    wait_until(lambda: who.states() == ["error", "cancelled"])
    failed, cancelled = who.rows()
    assert failed["error"] == "context_length_exceeded"
    assert cancelled["prompt_tokens"] > 0


def test_what_never_reached_an_engine_is_not(
    server: Running, holder: Callable[..., Holder]
) -> None:
    who = holder(models="tiny")
    for body in ({**SHORT, "model": "org/tuned:1"}, {**SHORT, "n": 0}, {}):
        assert server.post(CHAT, headers=who.headers, json=body).status_code in (400, 404)
    assert who.rows() == []


def test_models_out_of_scope_are_not_there(server: Running, holder: Callable[..., Holder]) -> None:
    who = holder(models="org/*,other")
    listed = server.get("/v1/models", headers=who.headers).json()["data"]
    assert [model["id"] for model in listed] == ["org/tuned:1"]
    assert server.get("/v1/models/org/tuned:1", headers=who.headers).status_code == 200
    nowhere = server.get("/v1/models/nowhere", headers=who.headers)
    outside = server.get("/v1/models/tiny", headers=who.headers)
    assert nowhere.status_code == outside.status_code == 404
    assert nowhere.text.replace("nowhere", "tiny") == outside.text
    with who.openai() as client:
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(**SHORT)
        assert caught.value.code == "model_not_found"
        client.chat.completions.create(**{**SHORT, "model": "org/tuned:1"})


def test_requests_a_minute(server: Running, holder: Callable[..., Holder]) -> None:
    who = holder(rpm_limit=2)
    for left in ("1", "0"):
        answer = server.post(CHAT, headers=who.headers, json=SHORT)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == left
    refused = server.post(CHAT, headers=who.headers, json=SHORT)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    with who.openai() as client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**SHORT)
    assert caught.value.code == "rate_limit_exceeded"
    assert "x-ratelimit-limit-requests" not in server.post(CHAT, json=SHORT).headers
    assert len(who.rows()) == 2


def test_tokens_a_minute(server: Running, holder: Callable[..., Holder]) -> None:
    who = holder(tpm_limit=5)
    answer = server.post(CHAT, headers=who.headers, json={**SHORT, "max_tokens": 20})
    assert answer.json()["usage"]["total_tokens"] > 5  # the answer that goes beyond is not cut
    assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
    refused = server.post(CHAT, headers=who.headers, json=SHORT)
    assert refused.status_code == 429
    assert "tokens a minute" in refused.json()["error"]["message"]


def test_requests_at_a_time_are_freed_when_the_client_leaves(
    server: Running, holder: Callable[..., Holder]
) -> None:
    who = holder(max_parallel_requests=1)
    for _ in range(3):
        with httpx.stream(
            "POST", server.url + CHAT, headers=who.headers, json=ENDLESS, timeout=60
        ) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data: ")
            refused = server.post(CHAT, headers=who.headers, json=SHORT)
            assert refused.status_code == 429
            assert refused.headers["Retry-After"] == "1"
            assert next(lines) == ""
        wait_until(lambda: server.post(CHAT, headers=who.headers, json=SHORT).status_code == 200)


def test_a_budget_is_kept_and_says_so(server: Running, holder: Callable[..., Holder]) -> None:
    who = holder(max_budget=30, budget_period="month")
    spent = 0
    while (answer := server.post(CHAT, headers=who.headers, json=SHORT)).status_code == 200:
        assert spent < 30
        spent += answer.json()["usage"]["total_tokens"]
    assert spent >= 30
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == answer.json()["error"]["code"] == "insufficient_quota"
    assert 0 < int(answer.headers["Retry-After"]) <= 31 * 86400 + 3600
    assert answer.headers["x-should-retry"] == "false"
    assert sum(row["prompt_tokens"] + row["completion_tokens"] for row in who.rows()) == spent


def test_a_change_takes_effect_at_once(
    served: tuple[Running, Database], holder: Callable[..., Holder]
) -> None:
    server, database = served
    who, keyring = holder(), Keyring(database)
    with httpx.stream(
        "POST", server.url + CHAT, headers=who.headers, json=ENDLESS, timeout=60
    ) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        keyring.change(who.id, {"models": "nothing"})
        assert server.post(CHAT, headers=who.headers, json=SHORT).status_code == 404
        keyring.revoke(who.id)
        assert server.post(CHAT, headers=who.headers, json=SHORT).status_code == 401
        assert next(lines) == ""  # what runs already runs on
        assert next(lines).startswith("data: ")


def test_many_at_once_are_all_counted(server: Running, holder: Callable[..., Holder]) -> None:
    who = holder()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: server.post(CHAT, headers=who.headers, json=SHORT), range(40))
        )
    assert {answer.status_code for answer in answers} == {200}
    wait_until(lambda: who.states() == ["ok"] * 40)
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in who.rows())
    assert tokens == sum(answer.json()["usage"]["total_tokens"] for answer in answers)


def test_usage_over_the_api(server: Running, holder: Callable[..., Holder]) -> None:
    first, second = holder(), holder()
    for who in (first, second, second):
        server.post(CHAT, headers=who.headers, json=SHORT)
    wait_until(lambda: second.states() == ["ok", "ok"])
    wait_until(lambda: first.states() == ["ok"])
    (mine,) = server.get("/v1/usage", headers=second.headers).json()["data"]
    assert (mine["key"], mine["model"], mine["requests"]) == (second.id, "tiny", 2)
    assert mine["total_tokens"] == mine["prompt_tokens"] + mine["completion_tokens"] > 0
    everybody = server.get("/v1/usage").json()["data"]
    assert {first.id, second.id} <= {row["key"] for row in everybody}
    (one,) = server.get("/v1/usage", params={"key": first.id}).json()["data"]
    assert one["key"] == first.id
    wrong = [("since", "yesterday"), ("until", "2026-1-1"), ("key", "a\0"), ("model", "\0")]
    for name, value in wrong:
        refused = server.get("/v1/usage", params={name: value})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == name
    future = server.get("/v1/usage", params={"since": "9999-01-01"}).json()
    assert future == {"object": "list", "data": []}
