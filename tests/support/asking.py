"""Short forms of what tests ask engines."""

from __future__ import annotations

from typing import Any

from kajiya.inference.protocol import Engine, GenerateChunk, GenerateRequest
from kajiya.tokenizer.messages import Message

HELLO = (Message("user", "hello"),)


def request(**options: Any) -> GenerateRequest:
    """By default: a greedy answer of 20 tokens to "hello" from the bare base."""
    values: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_tokens": 20, **options}
    if not {"messages", "text", "tokens"} & values.keys():
        values["messages"] = HELLO
    return GenerateRequest(**values)


async def chunks_of(engine: Engine, **options: Any) -> list[GenerateChunk]:
    return [chunk async for chunk in engine.generate(request(**options))]


async def said(engine: Engine, **options: Any) -> str:
    return "".join(chunk.text for chunk in await chunks_of(engine, **options))
