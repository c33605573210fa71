"""RWKV models, in this process: continuous batching with a state a sequence, adapters, streaming.

Blocks its callers, as many as there are slots, and answers them from one thread of its own. Belongs in a
worker process, like every engine.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kajiya.core.errors import EngineError, KajiyaError
from kajiya.core.hardware import physical_cores
from kajiya.core.language import tr
from kajiya.inference.constraint import Constraints
from kajiya.inference.grammar import KINDS
from kajiya.inference.logprobs import TokenLog, Vocabulary
from kajiya.inference.protocol import (
    Capabilities,
    EngineSettings,
    GenerateChunk,
    GenerateRequest,
    RequestError,
    room_after,
    unknown_token,
)
from kajiya.inference.rwkv.batch import States
from kajiya.inference.rwkv.initial import InitialStates
from kajiya.inference.rwkv.lora import LoraAdapters
from kajiya.inference.rwkv.prefix_cache import PrefixCache
from kajiya.inference.rwkv.request import Pending
from kajiya.inference.rwkv.scheduler import Scheduler
from kajiya.inference.rwkv.stages import allocate
from kajiya.inference.rwkv.steppers import (
    ROWS,
    CompiledStepper,
    FastestStepper,
    MatrixStepper,
    Parts,
    Stepper,
    TorchStepper,
)
from kajiya.inference.rwkv.team import Team
from kajiya.inference.rwkv.tiles import LANES
from kajiya.inference.rwkv.weights import pack
from kajiya.inference.sampling import Sampler, choose
from kajiya.inference.text import TextWriter
from kajiya.models.architectures import register
from kajiya.tokenizer.chat import ChatTokenizer

# Tokens of a prompt between two tokens of the running answers. Always the same, so that an answer
# does not depend on what else was asked; a multiple of the chunks in which a model reads.
_PIECE = 256
_MIB = 1024**2


class RwkvEngine:
    """One base in memory with its adapters beside it; any number of threads may call it."""

    def __init__(
        self, folder: Path, adapters: Mapping[str, Path], settings: EngineSettings
    ) -> None:
        """Load the model folder `folder` and the adapter folders by name.

        Raises `FormatError` or `ConflictError` for an adapter that does not fit, `EngineError` for a
        model that does not load.
        """
        threads = settings.threads or physical_cores()
        torch.set_num_threads(threads)
        self._model = _load(folder, settings)
        config = self._model.config
        self._initial = InitialStates(folder, adapters, config)
        self._loras = LoraAdapters(adapters, self._model)
        self._tokenizer = ChatTokenizer.load(folder)
        self._vocabulary = Vocabulary(self._tokenizer.tokenizer)
        self._pieces = self._vocabulary.pieces
        self.capabilities = Capabilities(
            context_length=settings.context_length,
            slots=settings.slots,
            adapters=tuple(adapters),
            constraints=KINDS,
        )
        self._states = States(
            settings.slots, config.num_hidden_layers, config.hidden_size, config.head_size
        )
        self._team = Team(threads)
        self._stepper = self._best_stepper(settings)
        self._cache = PrefixCache(settings.prefix_cache * _MIB)
        self._scheduler = Scheduler(settings.slots)
        self._thread = threading.Thread(target=self._run, name="rwkv", daemon=True)
        self._thread.start()

    @cached_property
    def _constraints(self) -> Constraints:
        """Made for the first request that wants a form: for a large vocabulary it takes its time."""
        size, tokenizer = self._model.config.vocab_size, self._tokenizer
        return Constraints(self._pieces, size, tokenizer.stop_ids, tokenizer.encode)

    @property
    def alive(self) -> bool:
        """Whether it can answer; a failure that is not one request's ends it for good."""
        return not self._scheduler.closed

    def complete(
        self,
        tokens: Sequence[int],
        request: GenerateRequest,
        on_chunk: Callable[[GenerateChunk], bool],
    ) -> None:
        """Continue `tokens` and give each piece to `on_chunk`, until that returns True or all is said.

        `on_chunk` is called from the engine's thread, also with empty pieces. Raises
        `ContextLengthError`, `RequestError` or `EngineError`.
        """
        room = room_after(tokens, self.capabilities.context_length)
        self._check([*tokens, *(token for token, _ in request.logit_bias)])
        chat = request.messages is not None
        # A text of a form ends by its form: an empty line in it is no end.
        ends = [self._tokenizer.stop_text] if chat and request.constraint is None else []
        pending = Pending(
            prompt=tuple(tokens),
            mixture=request.adapters,
            shares=self._loras.shares(request.adapters),
            room=min(request.max_tokens or room, room),
            stop_ids=self._tokenizer.stop_ids,
            sampler=Sampler(request),
            writer=TextWriter(self._pieces, [*request.stop, *ends]),
            on_chunk=on_chunk,
            reuse=request.reuse_prompt,
            matcher=None
            if request.constraint is None
            else self._constraints.open(request.constraint),
            log=None if request.logprobs is None else TokenLog(self._vocabulary, request.logprobs),
            state=self._initial.mixed(request.adapters),
        )
        if not self._scheduler.add(pending):
            raise EngineError(tr("the engine has ended", "エンジンは停止しています"))
        pending.ended.wait()
        if pending.error is not None:
            raise pending.error

    def embed(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """Not offered: what is left of a text in a state was never trained to be compared."""
        raise RequestError(tr("RWKV makes no embeddings", "RWKV では埋め込みを作れません"))

    def _check(self, tokens: Sequence[int]) -> None:
        size = self._model.config.vocab_size
        wrong = [token for token in tokens if not 0 <= token < size]
        if wrong:
            raise unknown_token(wrong[0], size)

    def close(self) -> None:
        """End the engine's thread; whoever waits for an answer gets an `EngineError`."""
        self._end(EngineError(tr("the engine was closed", "エンジンは終了しました")))
        self._thread.join()
        self._team.close()

    def _best_stepper(self, settings: EngineSettings) -> Stepper:
        config = self._model.config
        fits = config.hidden_size % LANES == config.intermediate_size % LANES == 0
        if config.model_type != "rwkv7" or not fits:
            if self._loras.names:
                raise EngineError(
                    tr(
                        "LoRA is served for RWKV-7 only",
                        "LoRA を使えるのは RWKV-7 だけです",
                    ),
                    where=self._loras.names[0],
                    fix=tr(
                        "merge it into the base with `kajiya models export`",
                        "`kajiya models export` で基のモデルに統合してください",
                    ),
                )
            return TorchStepper(self._model, self._states)
        exact = settings.weights == "fp32"
        weights = pack(self._model, 32 if exact else 8)
        memory = allocate(weights, -(-settings.slots // ROWS) * ROWS)
        parts = Parts(weights, self._loras.loras, memory, self._states, self._team)
        few = CompiledStepper(parts)
        if exact:
            return few
        return FastestStepper(few, MatrixStepper(self._model, parts), parts)

    def _run(self) -> None:
        try:
            while self._scheduler.wait():
                self._write()
                self._read()
        except BaseException:
            traceback.print_exc()
            self._end(_internal_error())

    def _end(self, error: KajiyaError) -> None:
        for pending in self._scheduler.close():
            pending.error = error
            pending.ended.set()

    def _read(self) -> None:
        """The next piece of the next prompt."""
        pending = self._scheduler.reading()
        if pending is None:
            return
        if self._alone(pending, partial(self._read_some, pending)):
            self._scheduler.drop(pending)
            pending.ended.set()

    def _alone(self, pending: Pending, work: Callable[[], bool]) -> bool:
        """What `work` returns; True, with an error for this request alone, if it fails."""
        try:
            return work()
        except Exception:
            traceback.print_exc()
            pending.error = _internal_error()
            return True

    def _read_some(self, pending: Pending) -> bool:
        """A piece, and after the last the first token of the answer; whether that was all."""
        pending.cancelled |= pending.on_chunk(GenerateChunk())
        if pending.cancelled:
            return True
        if pending.reuse and pending.read == 0:
            self._recall(pending)
        logits = self._read_piece(pending)
        if pending.read < len(pending.prompt):
            return False
        assert pending.state is not None
        if pending.add(int(self._choose([pending], logits)[0])):
            return True
        self._scheduler.join(pending)
        self._states.put([pending.slot], pending.state)
        pending.state = None
        return False

    def _recall(self, pending: Pending) -> None:
        """Begin where an earlier prompt that starts alike has got to."""
        known, state = self._cache.find(pending.mixture, pending.prompt)
        if state is not None:
            pending.read, pending.state = known, state
        pending.parting = self._cache.parting(pending.mixture, pending.prompt)

    @torch.no_grad()
    def _read_piece(self, pending: Pending) -> Any:
        """Read up to `_PIECE` tokens; logits `[1, vocabulary]` after the last."""
        end = min(pending.read + _PIECE, len(pending.prompt))
        if pending.read < pending.parting < end:
            end = pending.parting
        piece = torch.tensor([pending.prompt[pending.read : end]])
        with self._loras.reading(pending.shares):
            out = self._model(
                input_ids=piece, state=pending.state, use_cache=True, logits_to_keep=1
            )
        pending.read, pending.state = end, out.state
        if pending.reuse and end in (pending.parting, len(pending.prompt)):
            self._cache.keep(pending.mixture, pending.prompt[:end], out.state)
        return out.logits[:, -1].float().numpy()

    def _write(self) -> None:
        """One token more of every answer."""
        members = self._scheduler.batch.members
        if not members:
            return
        batch = self._scheduler.batch
        logits = self._stepper.step(batch.last_tokens(), batch.slots(), batch.shares())
        for member, token in zip(tuple(members), self._choose(members, logits), strict=True):
            if self._alone(member, partial(self._add, member, int(token))):
                batch.leave(member)
                member.ended.set()

    def _add(self, member: Pending, token: int) -> bool:
        """The next token of an answer; whether it was the last."""
        if not member.add(token):
            return False
        if member.reuse and not member.cancelled:
            read = (*member.prompt, *member.written[:-1])
            self._cache.keep(member.mixture, read, self._states.get([member.slot]))
        return True

    def _choose(self, members: Sequence[Pending], logits: Any) -> Any:
        """The next token of each, `[batch]`, from `logits` `[batch, vocabulary]`."""
        for member, row in zip(members, logits, strict=True):
            if member.log is not None:
                member.log.see(row)
            if member.matcher is not None:
                member.matcher.rule_out(row)
        settings = [m.sampler.prepare(row) for m, row in zip(members, logits, strict=True)]
        tokens = np.zeros(len(members), np.int64)
        self._team.run(choose, logits, np.array(settings), tokens)
        return tokens


def _internal_error() -> EngineError:
    return EngineError(tr("an internal error", "内部エラー"))


def _load(folder: Path, settings: EngineSettings) -> Any:
    """The model on the CPU, in 32 bits if it is to be exact."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    register()
    dtype = torch.float32 if settings.weights == "fp32" else torch.bfloat16
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(
            tr(f"the model could not be loaded: {error}", f"モデルを読み込めませんでした: {error}"),
            where=str(folder),
        ) from None
    return model.requires_grad_(False).eval()
