"""Requests that nobody should send, each answered in the API's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.server.bodies import CompletionBody
from kajiya.server.chat_body import ChatBody
from kajiya.server.errors import ApiError
from kajiya.server.parsing import parse
from support.tiny_server import Running

CHAT = "/v1/chat/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


TOOL = {"type": "function", "function": {"name": "f"}}
NO_OBJECT = {"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}
NONSENSE = {
    "type": "function",
    "function": {"name": "f", "parameters": {"properties": {"a": {"type": "nonsense"}}}},
}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BAD_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "no"}}


def error_of(response: Any) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_completion_tokens": 10**9}, "max_completion_tokens"),
        ({"n": 10**6}, "n"),
        ({"n": 0}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"seed": "x"}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, None),
        ({"stop": [""]}, None),
        ({"stream_options": {"include_usage": True}}, None),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "web_search", "function": {"name": "f"}}]}, "tools.0.type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
        ({"tools": [TOOL, TOOL]}, None),
        ({"tools": [NO_OBJECT]}, "tools.0.function"),
        ({"tools": [NONSENSE], "tool_choice": "required"}, "response_format"),
        ({"tools": [TOOL], "response_format": {"type": "json_object"}}, None),
        ({"tool_choice": "required"}, None),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, None),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x"),
        ({"logit_bias": {"99999": 1}}, "messages"),
        ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias"),
        ({"logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, None),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "(a"}}, "response_format"),
        ({"structured_outputs": {"grammar": "start: undefined"}}, "response_format"),
        ({"prompt": "x"}, "prompt"),
        ({"invented": 1}, "invented"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]}, None),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "messages.0"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [BAD_CALL]}]},
            "messages.0.tool_calls.0",
        ),
        ({"model": None}, "model"),
    ],
)
def test_a_bad_value_names_its_parameter(
    server: Running, change: dict[str, Any], param: str | None
) -> None:
    response = server.post(CHAT, json={**HELLO, **change})
    assert response.status_code == 400
    error = error_of(response)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_pictures_are_refused(server: Running) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:"}}
    body = {**HELLO, "messages": [{"role": "user", "content": [part]}]}
    assert server.post(CHAT, json=body).status_code == 400


@pytest.mark.parametrize(
    "change", [{"echo": True}, {"suffix": "x"}, {"best_of": 3}, {"logprobs": 6}]
)
def test_what_completions_refuse(server: Running, change: dict[str, Any]) -> None:
    response = server.post("/v1/completions", json={"model": "tiny", "prompt": "x", **change})
    assert response.status_code == 400
    assert error_of(response)["param"] == next(iter(change))


@pytest.mark.parametrize(
    "prompt", [[], [[]], "", ["a"] * 9, [99999], [2**31], [10**30], [-1], [1.5], {"a": 1}]
)
def test_bad_prompts(server: Running, prompt: Any) -> None:
    response = server.post("/v1/completions", json={"model": "tiny", "prompt": prompt})
    assert response.status_code == 400
    error_of(response)


def test_values_that_change_nothing_are_accepted(server: Running) -> None:
    harmless = {
        "tools": [],
        "tool_choice": "none",
        "logit_bias": {},
        "logprobs": False,
        "top_logprobs": None,
        "response_format": {"type": "text"},
        "user": "somebody",
        "metadata": {"a": "b"},
        "store": False,
        "n": 1,
        "stop": None,
    }
    assert server.post(CHAT, json={**HELLO, **harmless}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"model": "\\ud800"}',
        b'{"model": NaN}',
        b"[" * 100_000,
        b'{"messages":' * 50_000,
        b'{"model": 1' + b"0" * 5000 + b"}",
    ],
)
def test_bodies_that_are_no_json_object(server: Running, body: bytes) -> None:
    response = server.post(CHAT, content=body)
    assert response.status_code == 400
    error_of(response)


def test_unknown_paths_and_methods(server: Running) -> None:
    for response, status in (
        (server.get("/v1/nothing"), 404),
        (server.get(CHAT), 405),
        (server.get("/redoc"), 404),
        (server.get("/v1/models/"), 404),
    ):
        assert response.status_code == status
        error_of(response)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [*ChatBody.model_fields, *CompletionBody.model_fields, "tools", "logprobs", "echo", "user"]
)


@given(st.dictionaries(NAMES, JSON, max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_object_is_a_request_or_a_400(values: dict[str, Any]) -> None:
    for kind in (ChatBody, CompletionBody):
        try:
            parse(json.dumps(values).encode(), kind)
        except ApiError as error:
            assert error.status == 400
