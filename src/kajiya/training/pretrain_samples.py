"""A few sentences from a model that is being trained, to see what the numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from kajiya.tokenizer.chat import ChatTokenizer

_LENGTH = 64  # tokens
_TEMPERATURE = 0.8


class Sampler:
    """Continues `prompts` (token ids), always with the same random numbers.

    A sample is so short that every token runs the whole row again: that works for any architecture.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], tokenizer: ChatTokenizer) -> None:
        self.prompts = [list(prompt) for prompt in prompts]
        self.tokenizer = tokenizer

    @torch.no_grad()
    def samples(self, model: Any) -> list[str]:
        """A text for each prompt, the prompt included. `model` is in evaluation mode."""
        generator = torch.Generator().manual_seed(0)
        return [self._sample(model, prompt, generator) for prompt in self.prompts]

    def _sample(self, model: Any, prompt: list[int], generator: torch.Generator) -> str:
        ids = torch.tensor([prompt], device=next(model.parameters()).device)
        output = model.get_output_embeddings().weight
        for _ in range(_LENGTH):
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[0, -1]
            logits = (output @ hidden).float().cpu() / _TEMPERATURE
            token = torch.multinomial(torch.softmax(logits, dim=-1), 1, generator=generator)
            if int(token) == self.tokenizer.eos_id:
                break
            ids = torch.cat([ids, token.to(ids.device)[None]], dim=1)
        return self.tokenizer.decode(ids[0].tolist())
