"""What llama.cpp and PyTorch each think comes next, to be compared."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


class LlamaCppLogprobs:
    """A GGUF file (and an adapter over it) in llama.cpp, with a cache in 32 bits and no tricks."""

    def __init__(self, base: Path, adapter: Path | None = None, context: int = 256) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(base)
        if adapter is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        params.n_parallel, params.n_ctx = 1, context
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.fit_params = False
        params.cache_ram_mib = 0
        params.verbosity = 1
        params.api_keys = [secrets.token_urlsafe(8)]
        with tempfile.TemporaryDirectory(prefix="kj-", dir="/tmp") as folder:
            params.hostnames = [str(Path(folder) / "unused.sock")]
            self._server = xllamacpp.Server(params)

    def ask(self, prompt: Sequence[int] | str, **options: Any) -> dict[str, Any]:
        """The answer to a completion request, as llama.cpp gives it."""
        answers: list[dict[str, Any]] = []
        payload = {"prompt": prompt if isinstance(prompt, str) else list(prompt), "max_tokens": 1}
        payload |= {"temperature": 0, "cache_prompt": False, **options}
        self._server.handle_completions(payload, lambda answer: bool(answers.append(answer)))
        return answers[-1]

    def next(self, prompt: Sequence[int], ascii_token: int, top: int = 20) -> dict[int, float]:
        """The likeliest next tokens with their log-probabilities.

        `ascii_token` is what llama.cpp is made to say (it tells nothing of half a character); the
        log-probabilities are those from before it was made to.
        """
        answer = self.ask(prompt, logprobs=top, logit_bias=[[ascii_token, 1000.0]])
        found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return {entry["id"]: entry["logprob"] for entry in found}

    def loglikelihood(self, ids: Sequence[int]) -> list[float | None]:
        """ln p of each token after the first; None where llama.cpp tells nothing (half a character).

        The token that comes next is forced each time, and each prompt goes on from the one before.
        """
        found: list[float | None] = []
        for place, index in enumerate(ids[1:], start=1):
            options = {"logprobs": 1, "logit_bias": [[index, 1000.0]], "cache_prompt": True}
            shown = self.ask(ids[:place], **options)["choices"][0]["logprobs"]
            entries = shown["content"] if shown else []
            found.append(entries[0]["logprob"] if entries else None)
            assert not entries or entries[0]["id"] == index
        return found

    def chat(self, messages: Sequence[dict[str, str]]) -> dict[str, Any]:
        """The answer, of one token, to a chat request through the file's own template."""
        answers: list[dict[str, Any]] = []
        payload = {"messages": list(messages), "max_tokens": 1, "cache_prompt": False}
        self._server.handle_chat_completions(payload, lambda answer: bool(answers.append(answer)))
        return answers[-1]


def torch_next(model: Any, prompt: Sequence[int]) -> torch.Tensor:
    """Log-probabilities `[vocab]` of the token after `prompt`, in 32 bits."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(prompt)]), use_cache=False).logits[0, -1]
    return torch.log_softmax(logits.float(), dim=-1)


def largest_difference(ours: torch.Tensor, theirs: dict[int, float]) -> float:
    """Over the tokens that `theirs` names, in nats."""
    return max(abs(float(ours[index]) - value) for index, value in theirs.items())
