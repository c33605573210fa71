"""`POST /v1/completions`: continue a text, without a chat template."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kajiya.inference.protocol import FinishReason
from kajiya.server.answers import Answer, Shape
from kajiya.server.bodies import CompletionBody, parse
from kajiya.server.gateway import Gateway
from kajiya.server.sampling import engine_requests

# The API's own default for this route.
_DEFAULT_MAX_TOKENS = 16


def _choice(index: int, text: str, reason: FinishReason | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


SHAPE = Shape("text_completion", "text_completion", _choice, _choice)


async def completions(request: Request) -> Response:
    """Continue one prompt or several."""
    gateway: Gateway = request.app.state.gateway
    body = parse(await request.body(), CompletionBody)
    served = await gateway.find(body.model)
    prompts: list[dict[str, Any]] = [
        {"text": prompt} if isinstance(prompt, str) else {"tokens": tuple(prompt)}
        for prompt in body.prompts
    ]
    requests = engine_requests(served, body, prompts, body.max_tokens or _DEFAULT_MAX_TOKENS)
    chunks = gateway.generate(served, requests)
    answer = Answer(
        f"cmpl-{secrets.token_hex(12)}", body.model, SHAPE, body.choices, body.with_usage
    )
    return await answer.respond(request, chunks, bool(body.stream))
