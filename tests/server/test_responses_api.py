"""`/v1/responses` through the official client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
import pytest

from support.tiny_server import Running

GREEDY: Any = {"model": "tiny", "input": "hello", "temperature": 0}
NOW: Any = {
    "type": "function",
    "name": "now",
    "description": None,
    "parameters": {
        "type": "object",
        "properties": {"zone": {"enum": ["東京", "UTC"]}},
        "required": ["zone"],
    },
    "strict": True,
}


def test_a_response_says_what_a_chat_completion_says(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hello"}], temperature=0, max_tokens=12
    )
    answer = client.responses.create(**GREEDY, max_output_tokens=12)
    assert answer.output_text == chat.choices[0].message.content
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert chat.usage is not None
    assert answer.usage.input_tokens == chat.usage.prompt_tokens
    assert answer.usage.output_tokens == 12
    assert answer.usage.total_tokens == chat.usage.total_tokens
    assert answer.id.startswith("resp_")


def test_instructions_and_items(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "ab"},
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": "y"},
        ],
        max_tokens=1,
    )
    items: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": t} for t in "ab"]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        {"role": "user", "content": "y"},
    ]
    answer = client.responses.create(
        model="tiny", instructions="be brief", input=items, max_output_tokens=1, store=True
    )
    assert answer.usage is not None
    assert chat.usage is not None
    assert answer.usage.input_tokens == chat.usage.prompt_tokens
    assert answer.model_dump()["store"] is False


def test_a_stream_is_put_together_by_the_client(client: openai.OpenAI) -> None:
    whole = client.responses.create(**GREEDY, max_output_tokens=30)
    with client.responses.stream(**GREEDY, max_output_tokens=30) as stream:
        events = list(stream)
    assert events[-1].type == "response.incomplete"
    final = events[-1].response
    assert final.output_text == whole.output_text
    assert final.usage == whole.usage
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text


def test_the_events_of_a_stream(client: openai.OpenAI) -> None:
    events = list(client.responses.create(**GREEDY, max_output_tokens=2, stream=True))
    kinds = [event.type for event in events]
    assert [k for k in kinds if k != "response.output_text.delta"] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_call_and_its_result(client: openai.OpenAI) -> None:
    options: Any = {"model": "tiny", "tools": [NOW], "tool_choice": "required", "temperature": 1}
    question: Any = [{"role": "user", "content": "何時?"}]
    with client.responses.stream(**options, input=question) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert first.status == "completed"
    (call,) = first.output
    assert call.type == "function_call"
    assert call.name == "now"
    assert json.loads(call.arguments)["zone"] in ("東京", "UTC")
    named = client.responses.create(
        **{**options, "tool_choice": {"type": "function", "name": "now"}}, input=question
    )
    assert named.output[0].type == "function_call"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "noon"}
    second = client.responses.create(
        model="tiny", input=[*question, *first.output, result], tools=[NOW], max_output_tokens=3
    )
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_form(client: openai.OpenAI) -> None:
    class Answer(pydantic.BaseModel):
        sure: bool

    parsed = client.responses.parse(
        model="tiny", input="hello", text_format=Answer, max_output_tokens=60
    )
    assert isinstance(parsed.output_parsed, Answer)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"reasoning": {"effort": "low"}}, "reasoning"),
        ({"tools": [{"type": "web_search", "name": "x"}]}, "tools.0.type"),
        (
            {"input": [{"type": "reasoning", "id": "x", "summary": []}]},
            "input.0",
        ),
        ({"input": [5]}, "input.0"),
        ({"input": [{"role": "wizard", "content": ""}]}, "input.0.message.role"),
        ({"input": []}, "input"),
        ({"max_output_tokens": 10**9}, "max_output_tokens"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": ""}]}, None),
        ({"invented": 1}, "invented"),
    ],
)
def test_what_is_refused(server: Running, change: dict[str, Any], param: str | None) -> None:
    response = server.post("/v1/responses", json={**GREEDY, **change})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["message"]
    assert error["param"] == param
