"""What a model that is being tuned answers to a few questions, so that a person sees it learn.

Greedy, so no random number is drawn; the model's weights and gradients stay untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from kajiya.data.rows import Row
from kajiya.tokenizer.chat import ChatTokenizer

_ANSWER_TOKENS = 40
_LONGEST_QUESTION = 512  # tokens; its end is what matters


class AnswerSampler:
    """Asks `questions`, all in one batch, and hands each answer to `tell`.

    `tell` receives the step, the question, the answer and the answer that was expected.
    """

    def __init__(
        self,
        questions: Sequence[Row],
        tokenizer: ChatTokenizer,
        tell: Callable[[int, str, str, str], None],
    ) -> None:
        self._tokenizer = tokenizer
        self._tell = tell
        # A row's last turn is the assistant's: the answer to compare with.
        self._questions = [
            (row.messages[-2].content, row.messages[-1].content) for row in questions
        ]
        prompts = [tokenizer.encode_chat(row.messages[:-1]) for row in questions]
        self._prompts = [prompt[-_LONGEST_QUESTION:] for prompt in prompts]

    @torch.no_grad()
    def __call__(self, model: Any, step: int) -> None:
        """Ask; `model` is in evaluation mode."""
        device = next(model.parameters()).device
        width = max(map(len, self._prompts))
        pad = self._tokenizer.pad_id or 0
        ids = [[pad] * (width - len(prompt)) + prompt for prompt in self._prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in self._prompts]
        output = model.generate(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            generation_config=GenerationConfig(
                max_new_tokens=_ANSWER_TOKENS,
                do_sample=False,
                eos_token_id=sorted(self._tokenizer.stop_ids) or None,
                pad_token_id=pad,
            ),
        )
        for (question, expected), answer in zip(
            self._questions, output[:, width:].tolist(), strict=True
        ):
            text = self._tokenizer.decode(answer)
            if self._tokenizer.stop_text:
                text = text.partition(self._tokenizer.stop_text)[0]
            self._tell(step, question, text.strip(), expected)
