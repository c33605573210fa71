"""`POST /v1/completions`: continue a text, without a chat template."""

from __future__ import annotations

import secrets
from collections import defaultdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kajiya.inference.protocol import GenerateChunk
from kajiya.server.access.caller import Caller
from kajiya.server.answers import Answer, Choice
from kajiya.server.bodies import CompletionBody
from kajiya.server.gateway import Gateway
from kajiya.server.parsing import parse
from kajiya.server.sampling import engine_requests
from kajiya.server.states import Shelf
from kajiya.server.streaming import respond

# The API's own default for this route.
_DEFAULT_MAX_TOKENS = 16


class _CompletionShape:
    whole_object = piece_object = "text_completion"

    def __init__(self) -> None:
        self._told: defaultdict[int, int] = defaultdict(int)  # characters that tokens began

    def whole(self, index: int, answer: GenerateChunk) -> Choice:
        """See `Shape`."""
        return {
            "index": index,
            "text": answer.text,
            "logprobs": self._logprobs(index, answer),
            "finish_reason": answer.finish_reason,
        }

    def pieces(self, index: int, chunk: GenerateChunk) -> list[Choice]:
        """See `Shape`."""
        return [self.whole(index, chunk)] if chunk.text or chunk.finish_reason else []

    def _logprobs(self, index: int, chunk: GenerateChunk) -> dict[str, Any] | None:
        if not chunk.tokens:
            return None
        offsets = []
        for token in chunk.tokens:
            starts = [byte & 0xC0 != 0x80 for byte in token.data]
            # A token that is part of a character begins where the character does.
            offsets.append(self._told[index] - (not starts[0]))
            self._told[index] += sum(starts)
        return {
            "tokens": [token.text for token in chunk.tokens],
            "token_logprobs": [token.logprob for token in chunk.tokens],
            "top_logprobs": [{t.text: t.logprob for t in token.top} for token in chunk.tokens],
            "text_offset": offsets,
        }


async def completions(request: Request) -> Response:
    """Continue one prompt or several."""
    gateway: Gateway = request.app.state.gateway
    caller: Caller = request.state.caller
    body = parse(await request.body(), CompletionBody)
    served = await gateway.find(caller, body.model)
    prompts: list[dict[str, Any]] = [
        {"text": prompt} if isinstance(prompt, str) else {"tokens": tuple(prompt)}
        for prompt in body.prompts
    ]
    shelf: Shelf = request.app.state.shelf
    kept = await shelf.wanted(caller, served, body)
    requests = engine_requests(served, body, prompts, kept, body.max_tokens or _DEFAULT_MAX_TOKENS)
    chunks = gateway.generate(caller, served, requests, body.choices)
    answer = Answer(
        f"cmpl-{secrets.token_hex(12)}",
        body.model,
        _CompletionShape(),
        body.choices,
        body.with_usage,
        kept.id,
    )
    return await respond(request, chunks, answer, bool(body.stream))
