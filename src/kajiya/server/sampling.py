"""From the API's parameters to an engine's."""

from __future__ import annotations

from typing import Any

from kajiya.core.language import tr
from kajiya.inference.protocol import GenerateRequest
from kajiya.server.bodies import Generation
from kajiya.server.chat_body import ChatBody
from kajiya.server.errors import ApiError
from kajiya.server.gateway import ServedModel
from kajiya.server.states import Kept


def engine_requests(
    served: ServedModel,
    body: Generation,
    prompts: list[dict[str, Any]],
    kept: Kept,
    max_tokens: int | None,
    param: str = "max_tokens",
) -> list[GenerateRequest]:
    """`body.choices` requests for each prompt, with seeds that follow each other."""
    limit = served.engine.capabilities.context_length
    if max_tokens is not None and max_tokens > limit:
        raise ApiError(
            400,
            tr(
                f"{param} is too large: {max_tokens}. This model's context holds {limit} tokens, prompt included",
                f"{param} が大きすぎます: {max_tokens}。このモデルの文脈は入力を含めて {limit} トークンまでです",
            ),
            param=param,
            code="invalid_value",
        )
    given = body.model_dump(
        include={"temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty"},
        exclude_none=True,
    )
    common = {
        "model": served.model.name,
        "adapters": served.mixture,
        "max_tokens": max_tokens,
        "stop": body.stops,
        "logit_bias": body.biases,
        "logprobs": body.wanted_logprobs,
        "constraint": body.constraint,
        "start": kept.start,
        "save": kept.save,
        # Asked for the same twice, these must give the same twice.
        "reuse_prompt": body.temperature != 0 and body.seed is None,
        **given,
    }
    return [
        GenerateRequest(**common, **prompt, seed=None if body.seed is None else body.seed + number)
        for prompt in prompts
        for number in range(body.choices)
    ]


def chat_requests(
    served: ServedModel, body: ChatBody, kept: Kept, param: str
) -> list[GenerateRequest]:
    """The requests for answers to a conversation; `param` is what the client calls their length."""
    prompt = {"messages": body.conversation()}
    most = body.max_completion_tokens or body.max_tokens
    return engine_requests(served, body, [prompt], kept, most, param)
