"""What an engine in this process answers, as token ids: one after the other, or many at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from kajiya.inference.protocol import GenerateChunk, GenerateRequest
from kajiya.inference.rwkv.engine import RwkvEngine


def ask(engine: RwkvEngine, prompt: Sequence[int], **options: Any) -> str:
    """The text that follows `prompt`; greedy and 12 tokens by default."""
    chunks: list[GenerateChunk] = []

    def take(chunk: GenerateChunk) -> bool:
        chunks.append(chunk)
        return False

    engine.complete(prompt, wish(**options), take)
    assert chunks[-1].finish_reason
    return "".join(chunk.text for chunk in chunks)


def wish(**options: Any) -> GenerateRequest:
    return GenerateRequest(
        **{"model": "m", "tokens": (0,), "temperature": 0.0, "max_tokens": 12, **options}
    )


def ask_together(engine: RwkvEngine, wishes: Sequence[tuple[Sequence[int], Any]]) -> list[str]:
    """The answers to all, asked at the same time from a thread each."""
    start = threading.Barrier(len(wishes))

    def one(item: tuple[Sequence[int], Any]) -> str:
        start.wait()
        return ask(engine, item[0], **item[1])

    with ThreadPoolExecutor(len(wishes)) as pool:
        return list(pool.map(one, wishes))


def generated(model: Any, prompt: Sequence[int], tokens: int) -> list[int]:
    """What the model's own `generate` writes, greedily."""
    ids = torch.tensor([list(prompt)])
    with torch.no_grad():
        out = model.generate(ids, max_new_tokens=tokens, do_sample=False)
    return [int(token) for token in out[0, len(prompt) :]]
