"""GGUF models through llama.cpp, in this process: continuous batching, LoRA, streaming.

Takes prompts as token ids that Kajiya made, so a special token typed by a user stays plain text.
Blocks its caller and belongs in a worker process: a damaged file can end the whole process.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kajiya.core.errors import EngineError
from kajiya.core.hardware import physical_cores
from kajiya.core.language import tr
from kajiya.inference.grammar import KINDS, checked_lark
from kajiya.inference.llamacpp_tokens import TokenLog
from kajiya.inference.logprobs import Vocabulary
from kajiya.inference.protocol import (
    Capabilities,
    EngineSettings,
    FinishReason,
    GenerateChunk,
    GenerateRequest,
    RequestError,
    Usage,
    room_after,
    unknown_adapter,
    unknown_token,
)
from kajiya.inference.sockets import short_folder
from kajiya.tokenizer.chat import ChatTokenizer

# Environment for the worker's process, read by OpenMP when it is first loaded. Without it, waiting
# threads spin: beside one other busy process, 12 tokens took 18 s instead of 0.4 s.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive"}

# A prompt is read in pieces of this many tokens; between pieces it can be cancelled.
_BATCH = 512
# For an embedding, llama.cpp keeps the logits of every token of the text, though nobody asked.
_OUTPUT = 64 * 1024**2  # numbers
_RANDOM_SEED = 0xFFFFFFFF
_WARNINGS_ONLY = 2


class LlamaCpp:
    """One base in memory with its adapters beside it; as many threads may call it as it has slots."""

    def __init__(
        self,
        base: Path,
        adapters: Mapping[str, Path],
        settings: EngineSettings,
        context_length: int,
        tokenizer: ChatTokenizer,
    ) -> None:
        """Load; `tokenizer` is the base's. Raises `EngineError` if llama.cpp refuses a file."""
        import xllamacpp

        self._tokenizer = tokenizer
        self._adapters = {name: number for number, name in enumerate(adapters)}
        self.capabilities = Capabilities(
            context_length=min(settings.context_length, context_length),
            slots=settings.slots,
            adapters=tuple(adapters),
            constraints=KINDS,
            logprobs=True,
            embedding_tokens=min(
                _BATCH, settings.context_length, context_length, _OUTPUT // tokenizer.vocab_size
            ),
        )
        params = xllamacpp.CommonParams()
        params.model.path = str(base)
        params.lora_adapters = [
            xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in adapters.values()
        ]
        params.lora_init_without_apply = True
        params.n_parallel = settings.slots
        # Every slot can always fill its context: when a shared cache runs out, llama.cpp ends all
        # running requests at once.
        params.kv_unified = True
        params.kv_unified_per_slot = self.capabilities.context_length
        params.n_ctx = settings.slots * self.capabilities.context_length
        params.fit_params = False
        # Embeddings are made beside answers, which stay as fast. Without this, of the last token only.
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_batch = params.n_ubatch = _BATCH
        params.cache_ram_mib = 0  # by default up to 8 GB of old prompts
        params.cache_idle_slots = False
        params.verbosity = _WARNINGS_ONLY
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = (
            settings.threads or physical_cores()
        )
        params.ui = params.endpoint_slots = params.endpoint_metrics = params.endpoint_props = False
        # llama.cpp insists on an HTTP listener that nobody here uses. It gets a random key and a
        # socket in a private folder that is gone once the model is loaded: nothing can reach it.
        params.api_keys = [secrets.token_urlsafe(32)]
        with tempfile.TemporaryDirectory(prefix="kj-", dir=short_folder()) as folder:
            params.hostnames = [str(Path(folder) / "unused.sock")]
            try:
                self._server = xllamacpp.Server(params)
            except (RuntimeError, ValueError) as error:
                raise EngineError(
                    tr(
                        f"llama.cpp could not load the model: {error}",
                        f"llama.cpp がモデルを読み込めませんでした: {error}",
                    ),
                    where=str(base),
                ) from None

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        """Made for the first request that asks for its tokens."""
        return Vocabulary(self._tokenizer.tokenizer)

    @property
    def alive(self) -> bool:
        """Whether it can answer: where llama.cpp fails, the process ends."""
        return True

    def complete(
        self,
        tokens: Sequence[int],
        request: GenerateRequest,
        on_chunk: Callable[[GenerateChunk], bool],
    ) -> None:
        """Continue `tokens` and give each piece to `on_chunk`, until that returns True or all is said.

        `on_chunk` is also called with empty pieces while a long prompt is read. Raises
        `ContextLengthError`, `RequestError` or `EngineError`.
        """
        payload = self._payload(tokens, request)
        log = None if request.logprobs is None else TokenLog(self._vocabulary, request.logprobs)
        failures: list[RequestError | EngineError] = []

        def receive(answer: dict[str, Any]) -> bool:
            if "error" in answer:
                failures.append(_failure(answer["error"]))
                return True
            chunk = _chunk(answer, len(tokens))
            if log is not None:
                chunk = chunk.model_copy(update={"tokens": log.told(answer, chunk.text)})
            return on_chunk(chunk)

        self._server.handle_completions(payload, receive)
        if failures:
            raise failures[0]

    def embed(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """The mean over a text, of length 1. Raises `RequestError` or `EngineError`."""
        answer = self._server.handle_embeddings({"input": [list(tokens)]})
        if "error" in answer:
            raise _failure(answer["error"])
        return tuple(answer["data"][0]["embedding"])

    def _payload(self, tokens: Sequence[int], request: GenerateRequest) -> dict[str, Any]:
        room = room_after(tokens, self.capabilities.context_length)
        return {
            "prompt": list(tokens),
            "max_tokens": min(request.max_tokens or room, room),
            "stream": True,
            "timings_per_token": True,
            "return_progress": True,
            "cache_prompt": request.reuse_prompt,
            "lora": self._scales(request.adapters),
            # The order in which the field's APIs define them: temperature before the cut-offs.
            "samplers": ["penalties", "temperature", "top_p", "min_p"],
            "temperature": request.temperature,
            "top_p": request.top_p,
            "min_p": request.min_p,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "repeat_last_n": self.capabilities.context_length,
            "seed": _RANDOM_SEED if request.seed is None else request.seed % _RANDOM_SEED,
            "stop": list(request.stop),
            "logit_bias": self._biases(request.logit_bias),
            # Without the likeliest, llama.cpp tells nothing of the token itself either.
            "n_probs": 0 if request.logprobs is None else max(1, request.logprobs),
            **_constraint(request),
        }

    def _biases(self, wanted: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        size = self._tokenizer.vocab_size
        for token, _ in wanted:
            if not 0 <= token < size:
                raise unknown_token(token, size)
        return list(wanted)

    def _scales(self, wanted: Sequence[tuple[str, float]]) -> list[dict[str, float]]:
        scales = dict.fromkeys(self._adapters, 0.0)
        for name, scale in wanted:
            if name not in scales:
                raise unknown_adapter(name)
            scales[name] += scale
        return [{"id": self._adapters[name], "scale": scale} for name, scale in scales.items()]


def _constraint(request: GenerateRequest) -> dict[str, Any]:
    """The form of the answer in llama.cpp's terms; `ConstraintError` if it cannot be read."""
    wanted = request.constraint
    if wanted is None:
        return {}
    return {"grammar": checked_lark(wanted)}


def _chunk(answer: dict[str, Any], prompt_tokens: int) -> GenerateChunk:
    choice = (answer.get("choices") or [{}])[0]
    reason: FinishReason | None = choice.get("finish_reason")
    timings = answer.get("timings")
    return GenerateChunk(
        text=choice.get("text") or "",
        finish_reason=reason,
        usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=timings["predicted_n"])
        if timings
        else None,
    )


def _failure(error: dict[str, Any]) -> RequestError | EngineError:
    message = str(error.get("message", ""))
    if error.get("code") == 400:
        return RequestError(message)
    return EngineError(
        tr(f"llama.cpp failed: {message}", f"llama.cpp でエラーが起きました: {message}")
    )
