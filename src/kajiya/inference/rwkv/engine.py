"""RWKV models, in this process: continuous batching with a state a sequence, adapters, streaming.

Blocks its callers, as many as there are slots, and answers them from one thread of its own. Belongs in a
worker process, like every engine.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kajiya.core.errors import EngineError, FormatError, KajiyaError
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
from kajiya.inference.rwkv.batch import Rows, States, Turn
from kajiya.inference.rwkv.initial import InitialStates
from kajiya.inference.rwkv.lora import LoraAdapters
from kajiya.inference.rwkv.prefix_cache import PrefixCache
from kajiya.inference.rwkv.request import Pending
from kajiya.inference.rwkv.saved import SavedState, SavedStates
from kajiya.inference.rwkv.scheduler import PIECE, Scheduler
from kajiya.inference.rwkv.stages import allocate
from kajiya.inference.rwkv.steppers import (
    CompiledStepper,
    FastestStepper,
    MatrixStepper,
    Parts,
    Stepper,
    TorchStepper,
    rounded,
)
from kajiya.inference.rwkv.team import Team
from kajiya.inference.rwkv.tiles import LANES
from kajiya.inference.rwkv.weights import Bits, pack
from kajiya.inference.sampling import Sampler, choose
from kajiya.inference.text import TextWriter
from kajiya.models.architectures import register
from kajiya.tokenizer.chat import ChatTokenizer

_MIB = 1024**2
_BITS: dict[str, Bits] = {"fp32": 32, "int8": 8, "int4": 4}


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
        self._saved = SavedStates(self._initial)
        self._loras = LoraAdapters(adapters, self._model)
        self._tokenizer = ChatTokenizer.load(folder)
        self._vocabulary = Vocabulary(self._tokenizer.tokenizer)
        self.capabilities = Capabilities(
            context_length=settings.context_length,
            slots=settings.slots,
            adapters=tuple(adapters),
            constraints=KINDS,
            states=True,
            logprobs=True,
            takes_adapters=True,
        )
        self._states = States(
            settings.slots, config.num_hidden_layers, config.hidden_size, config.head_size
        )
        self._team = Team(threads)
        self._parts: Parts | None = None
        self._changing = threading.Lock()  # one adapter comes or goes at a time
        self._names = threading.Lock()  # a request with an adapter is in the queue before it can go
        self._stepper = self._best_stepper(settings)
        self._cache = PrefixCache(settings.prefix_cache * _MIB)
        self._scheduler = Scheduler(settings.slots)
        self._thread = threading.Thread(target=self._run, name="rwkv", daemon=True)
        self._thread.start()

    @cached_property
    def _constraints(self) -> Constraints:
        """Made for the first request that wants a form: for a large vocabulary it takes its time."""
        size, tokenizer = self._model.config.vocab_size, self._tokenizer
        return Constraints(self._vocabulary.pieces, size, tokenizer.stop_ids, tokenizer.encode)

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
        before = None if request.start is None else self._saved.load(request.start)
        last: list[GenerateChunk] = []

        def hold_last(chunk: GenerateChunk) -> bool:
            """The end of an answer is told once its state is kept."""
            if chunk.finish_reason is None:
                return on_chunk(chunk)
            last.append(chunk)
            return False

        pending = self._pending(tokens, request, before, hold_last if request.save else on_chunk)
        with self._names:
            mixed = self._initial.mixed(request.adapters)  # which also tells what is not loaded
            pending.initial = before.state if before else mixed
            accepted = self._scheduler.add(pending)
        if not accepted:
            raise _ended()
        pending.ended.wait()
        if pending.error is not None:
            raise pending.error
        if request.save is not None and pending.final is not None:
            read = (before.tokens if before else 0) + len(pending.prompt) + len(pending.written) - 1
            unread = self._unread(pending.written[-1])
            try:
                self._saved.save(
                    request.save, SavedState(pending.final, read, unread), request.model
                )
            except OSError as error:
                raise EngineError(
                    tr(f"the state cannot be kept: {error}", f"状態を保存できません: {error}")
                ) from None
            on_chunk(last[0])

    def _pending(
        self,
        tokens: Sequence[int],
        request: GenerateRequest,
        before: SavedState | None,
        on_chunk: Callable[[GenerateChunk], bool],
    ) -> Pending:
        """`request` on its way; `RequestError` if it cannot be answered."""
        carried = before.unread if before else ()
        prompt = (*carried, *tokens)
        room = room_after(prompt, self.capabilities.context_length)
        self._check([*prompt, *(token for token, _ in request.logit_bias)])
        chat = request.messages is not None
        # A text of a form ends by its form: an empty line in it is no end.
        ends = [self._tokenizer.stop_text] if chat and request.constraint is None else []
        constraint = request.constraint
        return Pending(
            prompt=prompt,
            mixture=request.adapters,
            room=min(request.max_tokens or room, room),
            stop_ids=self._tokenizer.stop_ids,
            sampler=Sampler(request),
            writer=TextWriter(self._vocabulary.pieces, [*request.stop, *ends]),
            on_chunk=on_chunk,
            reuse=request.reuse_prompt and before is None,
            matcher=None if constraint is None else self._constraints.open(constraint),
            log=None if request.logprobs is None else TokenLog(self._vocabulary, request.logprobs),
            carried=len(carried),
            keep=request.save is not None,
        )

    def _unread(self, last: int) -> tuple[int, ...]:
        """What a conversation goes on with after an answer that ended with the token `last`."""
        if last in self._tokenizer.stop_ids and self._tokenizer.stop_text:
            return tuple(self._tokenizer.encode(self._tokenizer.stop_text))
        return (last,)

    def embed(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """Not offered: what is left of a text in a state was never trained to be compared."""
        raise RequestError(tr("RWKV makes no embeddings", "RWKV では埋め込みを作れません"))

    def add_adapter(self, name: str, path: Path) -> None:
        """See `TakesAdapters.add_adapter`."""
        with self._changing:
            loras = self._loras.added(name, path)
            if loras.names and self._parts is None:
                raise _no_lora(name)
            self._initial.add(name, path)
            self._between_steps(partial(self._exchange, loras))
            self._set_adapters((*self.capabilities.adapters, name))

    def remove_adapter(self, name: str) -> None:
        """See `TakesAdapters.remove_adapter`."""
        with self._changing:
            kept = tuple(own for own in self.capabilities.adapters if own != name)
            self._set_adapters(kept)
            with self._names:  # from here on nobody can ask for it
                self._initial.remove(name)
            self._between_steps(partial(self._drop, name, self._loras.removed(name)))

    def _between_steps(self, change: Callable[[], bool]) -> None:
        try:
            self._scheduler.ask(change).result()
        except CancelledError:
            raise _ended() from None

    def _exchange(self, loras: LoraAdapters) -> bool:
        self._loras = loras
        if self._parts is not None:
            self._parts.loras = loras.loras
        return True

    def _drop(self, name: str, rest: LoraAdapters) -> bool:
        """Forget what is left of an adapter, unless somebody still answers with it."""
        if self._scheduler.uses(name):
            return False
        self._cache.forget(name)
        return self._exchange(rest)

    def _set_adapters(self, names: tuple[str, ...]) -> None:
        self.capabilities = self.capabilities.model_copy(update={"adapters": names})

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
                raise _no_lora(self._loras.names[0])
            return TorchStepper(self._model, self._states)
        exact = settings.weights == "fp32"
        weights = pack(self._model, _BITS[settings.weights])
        memory = allocate(weights, rounded(settings.slots + PIECE), settings.slots)
        parts = Parts(weights, self._loras.loras, memory, self._states, self._team)
        self._parts = parts
        few = CompiledStepper(parts)
        if exact:
            return few
        return FastestStepper(few, MatrixStepper(self._model, parts), parts)

    def _run(self) -> None:
        try:
            while self._scheduler.wait():
                self._scheduler.change()
                for pending in self._scheduler.admit():
                    self._alone(pending, partial(self._begin, pending))
                for member in self._scheduler.batch.reading():
                    self._alone(member, member.gives_up)
                self._step(self._scheduler.turns())
        except BaseException:
            traceback.print_exc()
            self._end(_internal_error())

    def _end(self, error: KajiyaError) -> None:
        for pending in self._scheduler.close():
            pending.error = error
            pending.ended.set()

    def _alone(self, member: Pending, work: Callable[[], bool]) -> None:
        """Do `work`, which tells whether `member` has ended; if it fails, only this one ends."""
        try:
            ended = work()
        except Exception:
            traceback.print_exc()
            member.error = _internal_error()
            ended = True
        if ended:
            self._scheduler.batch.leave(member)
            member.ended.set()

    def _begin(self, pending: Pending) -> bool:
        """Begin from the initial state, or where an earlier prompt that starts alike has got to."""
        state = pending.initial
        assert state is not None
        if pending.reuse:
            known, earlier = self._cache.find(pending.mixture, pending.prompt)
            if earlier is not None:
                pending.read, state = known, earlier
            pending.parting = self._cache.parting(pending.mixture, pending.prompt)
        self._states.put([pending.slot], state)
        return False

    def _step(self, turns: Sequence[Turn]) -> None:
        """Read the tokens of `turns`, and choose the next one for everybody who is through the prompt."""
        if not turns:
            return
        shares = self._loras.shares([turn.member.mixture for turn in turns])
        logits = self._stepper.step(Rows.of(turns, shares))
        writers = [turn.member for turn in turns if turn.member.wants_token(len(turn.tokens))]
        for member, tokens in turns:
            if member.reading:
                self._alone(member, partial(self._advance, member, len(tokens)))
        for member, token in zip(writers, self._choose(writers, logits), strict=True):
            if member.error is None:
                self._alone(member, partial(self._add, member, int(token)))

    def _advance(self, member: Pending, count: int) -> bool:
        """So many tokens of the prompt have been read."""
        member.read += count
        if member.reuse and member.read in (member.parting, len(member.prompt)):
            self._keep(member, member.prompt[: member.read])
        return False

    def _add(self, member: Pending, token: int) -> bool:
        """The next token of an answer; whether it was the last."""
        if not member.add(token):
            return False
        if member.keep and not member.cancelled:
            member.final = self._states.get([member.slot])
        if member.reuse and not member.cancelled:
            self._keep(member, (*member.prompt, *member.written[:-1]))
        return True

    def _keep(self, member: Pending, read: tuple[int, ...]) -> None:
        self._cache.keep(member.mixture, read, self._states.get([member.slot]))

    def _choose(self, members: Sequence[Pending], logits: Any) -> Any:
        """The next token of each, `[batch]`, from `logits` `[batch, vocabulary]`."""
        for member, row in zip(members, logits, strict=True):
            if member.log is not None:
                member.log.see(row)
            if member.matcher is not None:
                member.matcher.rule_out(row)
        tokens = np.zeros(len(members), np.int64)
        if members:
            settings = [m.sampler.prepare(row) for m, row in zip(members, logits, strict=True)]
            self._team.run(choose, logits, np.array(settings), tokens)
        return tokens


def _internal_error() -> EngineError:
    return EngineError(tr("an internal error", "内部エラー"))


def _ended() -> EngineError:
    return EngineError(tr("the engine has ended", "エンジンは停止しています"))


def _no_lora(name: str) -> FormatError:
    return FormatError(
        tr("LoRA is served for RWKV-7 only", "LoRA を使えるのは RWKV-7 だけです"),
        where=name,
        fix=tr(
            "merge it into the base with `kajiya models export`",
            "`kajiya models export` で基のモデルに統合してください",
        ),
    )


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
