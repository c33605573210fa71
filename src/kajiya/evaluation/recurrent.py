"""Answers of a recurrent model in PyTorch: to measure an adapter as it was trained, state and all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kajiya.models.recurrent.state import RecurrentState
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message


@torch.no_grad()
def answer_questions(
    model: Any,
    tokenizer: ChatTokenizer,
    questions: Sequence[str],
    *,
    max_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """The answers of `model` to `questions`, each asked alone, at most `max_tokens` long.

    Greedy at temperature 0, else drawn from the whole distribution, the same for the same `seed`. The
    questions are read one by one and answered together, a token of each at a time.
    """
    if not questions:
        return []
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    states, last = [], []
    for question in questions:
        ids = torch.tensor([tokenizer.encode_chat([Message("user", question)])], device=device)
        out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        states.append(out.state)
        last.append(out.logits[:, -1])
    state, logits = RecurrentState.stack(states), torch.cat(last)
    written: list[list[int]] = [[] for _ in questions]
    writing = set(range(len(questions)))
    for _ in range(max_tokens):
        chosen = _choose(logits.float().cpu(), temperature, generator)
        for row in tuple(writing):
            token = int(chosen[row])
            if token not in tokenizer.stop_ids:
                written[row].append(token)
            if token in tokenizer.stop_ids or _ended(written[row], tokenizer):
                writing.discard(row)
        if not writing:
            break
        inputs = chosen[:, None].to(device)
        out = model(input_ids=inputs, state=state, use_cache=True, logits_to_keep=1)
        state, logits = out.state, out.logits[:, -1]
    answers = [tokenizer.decode(ids) for ids in written]
    stop = tokenizer.stop_text
    return [(text.partition(stop)[0] if stop else text).strip() for text in answers]


def _ended(ids: list[int], tokenizer: ChatTokenizer) -> bool:
    """Whether the answer has come to the text that ends a turn, for templates that end it with one."""
    return bool(tokenizer.stop_text) and tokenizer.stop_text in tokenizer.decode(ids)


def _choose(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """The next token of each row of `[rows, vocabulary]`."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits / temperature, -1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
