"""`POST /v1/chat/completions`."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kajiya.inference.protocol import FinishReason
from kajiya.server.answers import Answer, Shape
from kajiya.server.bodies import ChatBody, parse
from kajiya.server.gateway import Gateway
from kajiya.server.sampling import engine_requests


def _whole(index: int, text: str, reason: FinishReason | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


def _piece(index: int, text: str, reason: FinishReason | None) -> dict[str, Any]:
    delta = {} if reason else {"content": text}
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def _opening(index: int) -> dict[str, Any]:
    delta = {"role": "assistant", "content": ""}
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


SHAPE = Shape("chat.completion", "chat.completion.chunk", _whole, _piece, _opening)


async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    gateway: Gateway = request.app.state.gateway
    body = parse(await request.body(), ChatBody)
    served = await gateway.find(body.model)
    prompt = {"messages": tuple(message.plain() for message in body.messages)}
    newer = body.max_completion_tokens is not None
    requests = engine_requests(
        served,
        body,
        [prompt],
        body.max_completion_tokens if newer else body.max_tokens,
        "max_completion_tokens" if newer else "max_tokens",
    )
    chunks = gateway.generate(served, requests)
    answer = Answer(
        f"chatcmpl-{secrets.token_hex(12)}", body.model, SHAPE, body.choices, body.with_usage
    )
    return await answer.respond(request, chunks, bool(body.stream))
