"""Functions that answers may call: through the official client, and the reading of calls in pieces."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import jsonschema
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.server.calls import CallPiece, Scanner
from kajiya.server.chat_body import ChatBody
from kajiya.tokenizer.messages import Message

QUESTION: Any = [{"role": "user", "content": "東京の天気は?"}]
PLACE = {
    "type": "object",
    "properties": {
        "place": {"$ref": "#/$defs/場所"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["place", "days"],
    "$defs": {"場所": {"enum": ["東京", "大阪"]}},
}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "天気", "parameters": PLACE},
}
NOW: Any = {"type": "function", "function": {"name": "now"}}


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    return {"model": "tiny", "messages": QUESTION, "tools": [WEATHER, NOW], "temperature": 1}


def check(name: str, arguments: str) -> None:
    if name == "now":
        assert json.loads(arguments) == {}
    else:
        assert name == "get_weather"
        jsonschema.validate(json.loads(arguments), PLACE)


def test_a_call_that_must_be_made_is_valid(client: openai.OpenAI, options: dict[str, Any]) -> None:
    called = set()
    for seed in range(6):
        answer = client.chat.completions.create(**options, tool_choice="required", seed=seed)
        (choice,) = answer.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert call.id.startswith("call_")
        check(call.function.name, call.function.arguments)
        called.add(call.function.name)
    assert called == {"get_weather", "now"}


@pytest.mark.parametrize("name", ["get_weather", "now"])
def test_the_named_function_is_called(
    client: openai.OpenAI, options: dict[str, Any], name: str
) -> None:
    choice: Any = {"type": "function", "function": {"name": name}}
    answer = client.chat.completions.create(**options, tool_choice=choice)
    assert answer.choices[0].message.tool_calls is not None
    (call,) = answer.choices[0].message.tool_calls
    assert call.type == "function"
    assert call.function.name == name
    check(name, call.function.arguments)


def test_several_calls_at_once_where_they_are_asked_for(
    client: openai.OpenAI, options: dict[str, Any]
) -> None:
    counts = set()
    for seed in range(5):
        answer = client.chat.completions.create(
            **options, tool_choice="required", parallel_tool_calls=True, seed=seed
        )
        calls = answer.choices[0].message.tool_calls or []
        for call in calls:
            assert call.type == "function"
            check(call.function.name, call.function.arguments)
        assert len({call.id for call in calls}) == len(calls)
        counts.add(len(calls))
    assert max(counts) > 1


def test_a_streamed_call_is_put_together_by_the_client(
    client: openai.OpenAI, options: dict[str, Any]
) -> None:
    sampled = {"seed": 3, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
    whole = client.chat.completions.create(**options, **sampled).choices[0].message
    with client.chat.completions.stream(**options, **sampled) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls is not None
    assert whole.tool_calls is not None
    (call,) = final.message.tool_calls
    assert call.function.name == "get_weather"
    assert whole.tool_calls[0].type == "function"
    assert call.function.arguments == whole.tool_calls[0].function.arguments


def test_a_call_that_is_cut_off_says_so(client: openai.OpenAI, options: dict[str, Any]) -> None:
    answer = client.chat.completions.create(
        **options,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=40,
    )
    assert answer.choices[0].finish_reason == "length"


def test_who_may_call_may_also_speak(client: openai.OpenAI, options: dict[str, Any]) -> None:
    greedy: Any = {**options, "temperature": 0, "max_tokens": 3}
    for choice in ("auto", "none"):
        answer = client.chat.completions.create(**greedy, tool_choice=choice)
        assert answer.choices[0].message.content == " the quick brown"
        assert answer.choices[0].message.tool_calls is None
        assert answer.choices[0].finish_reason == "length"
    pieces = client.chat.completions.create(**greedy, stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == " the quick brown"


def test_a_round_trip_of_a_call(client: openai.OpenAI, options: dict[str, Any]) -> None:
    first = client.chat.completions.create(**options, tool_choice="required")
    message: Any = first.choices[0].message
    messages = [
        *QUESTION,
        message,
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "晴れ"},
    ]
    answer = client.chat.completions.create(**{**options, "messages": messages}, max_tokens=2)
    assert answer.choices[0].message.content is not None


def test_what_the_model_is_told() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": '{"a":1}'}}
    body = ChatBody.model_validate(
        {
            "model": "m",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "When?"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "1", "content": "noon"},
                {"role": "user", "content": "Thanks"},
            ],
            "tools": [NOW],
        }
    )
    assert body.conversation() == (
        Message(
            "system",
            "Be brief.\n\nYou can call these functions:\n"
            '{"name":"now","parameters":{}}\n'
            'To call, answer with nothing but {"name":"…","arguments":{…}}.',
        ),
        Message("user", "When?"),
        Message("assistant", '{"name":"now","arguments":{"a":1}}'),
        Message("user", "Result of now:\nnoon\n\nThanks"),
    )


CALL = '{"name": "f", "arguments": {"a": "}{\\"", "b": [1, {}]}}'
OTHER = '{"name":"g","parameters":{}}'


def read(text: str, cuts: set[int]) -> tuple[str, list[tuple[str, str]]]:
    """The text and the calls that are found in a text that comes in pieces."""
    scanner = Scanner(["f", "g"])
    edges = sorted({0, len(text)} | {cut for cut in cuts if cut < len(text)})
    found: list[str | CallPiece] = []
    for start, end in pairwise(edges):
        found += scanner.feed(text[start:end])
    found += scanner.end()
    said, calls = "", []
    for piece in found:
        if isinstance(piece, str):
            said += piece
        elif piece.name:
            calls.append((piece.name, ""))
        else:
            assert piece.number == len(calls) - 1
            calls[-1] = (calls[-1][0], calls[-1][1] + piece.arguments)
    assert len(calls) == scanner.calls
    return said, calls


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        (CALL, "", [("f", '{"a": "}{\\"", "b": [1, {}]}')]),
        (f"\n [{CALL} ,\n{OTHER}]", "", [("f", '{"a": "}{\\"", "b": [1, {}]}'), ("g", "{}")]),
        (f"{OTHER}\nDone: " + "x" * 300, "", [("g", "{}")]),
        ('{"name": "f", "arguments": {"a": 1', "", [("f", '{"a": 1')]),
        ('{"name": "unknown", "arguments": {}}', '{"name": "unknown", "arguments": {}}', []),
        ('{"other": 1}', '{"other": 1}', []),
        ("[" + "1, " * 100, "[" + "1, " * 100, []),
        (f"Hello {CALL}", f"Hello {CALL}", []),
        ("{", "{", []),
        (" ", " ", []),
        ("", "", []),
    ],
)
@given(cuts=st.sets(st.integers(1, 400), max_size=8))
def test_calls_are_read_however_they_are_cut(
    text: str, said: str, calls: list[tuple[str, str]], cuts: set[int]
) -> None:
    assert read(text, cuts) == (said, calls)


@given(st.text(alphabet='{}[]",:\\ naf', max_size=60), st.sets(st.integers(1, 60), max_size=5))
def test_where_nothing_is_called_nothing_is_lost(text: str, cuts: set[int]) -> None:
    said, calls = read(text, cuts)
    assert calls or said == text
