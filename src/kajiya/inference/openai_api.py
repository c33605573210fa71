"""A request in the words of OpenAI's API, and the answer's events back in ours.

Knows no connection; that is `endpoint`. `structured_outputs`, `min_p` and prompts of token ids are
extensions that vLLM and our own gateway understand.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel, Field

from kajiya.core.errors import EngineError
from kajiya.core.language import tr
from kajiya.inference.grammar import texts_of, unreadable
from kajiya.inference.protocol import (
    Constraint,
    FinishReason,
    GenerateChunk,
    GenerateRequest,
    RequestError,
    Usage,
)

# What `body_of` and its callers see to. Anything else that a request may come to hold is refused, not ignored.
_KNOWN = frozenset(
    (
        *("model", "messages", "text", "tokens", "adapters", "max_tokens", "temperature", "top_p"),
        *(
            "min_p",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "stop",
            "constraint",
            "logit_bias",
        ),
        "reuse_prompt",
    )
)


class Delta(BaseModel):
    """What is new in a message."""

    content: str | None = None


class Choice(BaseModel):
    """One answer's part of an event: `delta` of a chat, `text` of a completion."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class Counted(BaseModel):
    """Tokens, as an endpoint counts them."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int | None = Field(None, ge=0)


class Event(BaseModel):
    """One server-sent event; the usage comes with an event of its own, or with each."""

    choices: list[Choice] = []
    usage: Counted | None = None


def body_of(request: GenerateRequest, model: str) -> dict[str, Any]:
    """The body for `request` to the model that is called `model` there, but for prompt and length.

    Raises `RequestError` for what that API cannot say.
    """
    strange = [
        name
        for name in request.model_fields_set - _KNOWN
        if getattr(request, name) != type(request).model_fields[name].get_default()
    ]
    if strange:
        names = ", ".join(sorted(strange))
        raise RequestError(
            tr(
                f"the engine of this model does not take {names}",
                f"このモデルのエンジンは {names} に対応していません",
            )
        )
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    for name in ("min_p", "frequency_penalty", "presence_penalty"):
        if value := getattr(request, name):
            body[name] = value
    if request.seed is not None:
        body["seed"] = request.seed
    if request.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in request.logit_bias}
    if request.stop:
        body["stop"] = list(request.stop)
    return body | (_form(request.constraint) if request.constraint else {})


def _form(constraint: Constraint) -> dict[str, Any]:
    if constraint.kind == "choice":
        return {"structured_outputs": {"choice": texts_of(constraint)}}
    if constraint.kind != "json_schema":
        return {"structured_outputs": {constraint.kind: constraint.value}}
    try:
        schema = json.loads(constraint.value)
    except (ValueError, RecursionError) as error:
        raise unreadable(constraint, str(error)) from None
    if schema == {"type": "object"}:
        return {"response_format": {"type": "json_object"}}
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


async def chunks_of(
    events: AsyncGenerator[Event], prompt_tokens: int
) -> AsyncGenerator[GenerateChunk]:
    """The answer in `events`; `prompt_tokens` is 0 where only the endpoint can count.

    Until the endpoint tells its usage, each piece of text counts as one token.
    """
    usage = Usage(prompt_tokens=prompt_tokens)
    reason: str | None = None
    async with aclosing(events):
        async for event in events:
            text = ""
            for choice in event.choices:
                text += choice.text or (choice.delta.content if choice.delta else None) or ""
                reason = choice.finish_reason or reason
            usage = _usage(event.usage) or Usage(
                prompt_tokens=prompt_tokens,
                completion_tokens=usage.completion_tokens + bool(text),
            )
            yield GenerateChunk(text=text, usage=usage)
    yield GenerateChunk(finish_reason=_reason(reason), usage=usage)


def _usage(counted: Counted | None) -> Usage | None:
    if counted is None:
        return None
    read, written = counted.prompt_tokens, counted.completion_tokens or 0
    return Usage(prompt_tokens=read, completion_tokens=written)


def _reason(told: str | None) -> FinishReason:
    if told in (None, "error", "abort"):
        raise EngineError(tr("the answer broke off", "回答が途中で終わりました"))
    return "length" if told == "length" else "stop"
