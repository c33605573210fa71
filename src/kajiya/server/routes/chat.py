"""`POST /v1/chat/completions`."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import Response

from kajiya.server.access.caller import Caller
from kajiya.server.answers import Answer
from kajiya.server.chat_body import ChatBody
from kajiya.server.chat_shape import ChatShape
from kajiya.server.gateway import Gateway
from kajiya.server.parsing import parse
from kajiya.server.sampling import chat_requests
from kajiya.server.states import Shelf
from kajiya.server.streaming import respond


async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    gateway: Gateway = request.app.state.gateway
    caller: Caller = request.state.caller
    body = parse(await request.body(), ChatBody)
    served = await gateway.find(caller, body.model)
    param = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    shelf: Shelf = request.app.state.shelf
    kept = await shelf.wanted(caller, served, body)
    requests = chat_requests(served, body, kept, param)
    chunks = gateway.generate(caller, served, requests, body.choices)
    answer = Answer(
        f"chatcmpl-{secrets.token_hex(12)}",
        body.model,
        ChatShape(body.offer),
        body.choices,
        body.with_usage,
        kept.id,
    )
    return await respond(request, chunks, answer, bool(body.stream))
