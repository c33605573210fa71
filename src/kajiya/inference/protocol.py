"""What every engine can be asked and what it answers, wherever it runs.

Requests and chunks are plain frozen values, so they cross a process boundary as JSON. A model mixed
from several adapters is a request with several entries in `adapters`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kajiya.core.config import Config, option
from kajiya.core.errors import KajiyaError
from kajiya.core.language import tr
from kajiya.tokenizer.messages import Message

FinishReason = Literal["stop", "length"]
ConstraintKind = Literal["json_schema", "regex", "choice", "grammar"]
MAX_TOP_LOGPROBS = 20
# Not loaded because nobody asks, or broken down: the next request starts either, the latter after a pause.
EngineState = Literal["up", "idle", "starting", "failing"]


class RequestError(KajiyaError):
    """The engine is well, but this request cannot be answered as it is."""

    code = "request"


class ContextLengthError(RequestError):
    """The prompt leaves no room for an answer in the model's context."""

    code = "context_length"


class ConstraintError(RequestError):
    """The form that the answer is to have cannot be read, or not by this engine."""

    code = "constraint"


class BusyError(KajiyaError):
    """Too many requests are waiting already; the same request may be answered later.

    `retry_after` is the number of seconds that an endpoint elsewhere asked us to wait, if it did.
    """

    code = "busy"

    def __init__(
        self, message: str, *, where: str = "", fix: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message, where=where, fix=fix)
        self.retry_after = retry_after


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Constraint(_Value):
    """What the answer must be: a JSON document of a schema, a match of a regular expression, one of some
    texts (each in its JSON form: `["はい","いいえ"]`), or a text of a grammar in Lark or GBNF.
    """

    kind: ConstraintKind
    value: str


class GenerateRequest(_Value):
    """One answer wanted from the model named `model`.

    Exactly one of `messages` (rendered with the model's chat template), `text` and `tokens` is the
    prompt. `adapters` are (name, scale) pairs; none means the bare base. `max_tokens` None means as
    far as the context goes. `seed` None draws a new one. `logit_bias` are (token, what is added to its
    logit) pairs. `logprobs` asks for each token of the answer with so many of the likeliest in its place.

    With `start` the answer goes on from the state in that file, and the prompt is only what is new. With
    `save` the state after the answer is kept in that file, which is there before the last chunk comes.

    `reuse_prompt` lets the engine continue from the computed prefix of an earlier request: faster,
    but its rounding differs from computing afresh, so a request that must repeat exactly says no.
    """

    model: str
    messages: tuple[Message, ...] | None = None
    text: str | None = None
    tokens: tuple[int, ...] | None = None
    adapters: tuple[tuple[str, float], ...] = ()
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, ge=0, le=1)
    min_p: float = Field(0.0, ge=0, le=1)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    constraint: Constraint | None = None
    start: Path | None = None
    save: Path | None = None
    reuse_prompt: bool = True

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if sum(prompt is not None for prompt in (self.messages, self.text, self.tokens)) != 1:
            raise ValueError("exactly one of messages, text and tokens is the prompt")
        return self


class Usage(_Value):
    """Tokens read and written so far; nothing read means that it is not known yet."""

    prompt_tokens: int
    completion_tokens: int = 0


class TokenLogprob(_Value):
    """A token, its bytes, and the natural logarithm of the probability that the model gave it, before
    bias, penalties, temperature and form had their say.
    """

    text: str
    data: tuple[int, ...]
    logprob: float


class WrittenToken(TokenLogprob):
    """A token of an answer and the likeliest ones in its place, the likeliest first."""

    top: tuple[TokenLogprob, ...] = ()


class GenerateChunk(_Value):
    """The next piece of an answer; `text` is always whole characters.

    `tokens` are those that `text` completes, if the request asked for them. The first chunk is empty and
    tells by its usage that the request was accepted; the last one has `finish_reason` and the final
    usage. Those in between tell what was used so far, so that an answer which is broken off is paid
    for all the same.
    """

    text: str = ""
    tokens: tuple[WrittenToken, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None

    def followed_by(self, later: GenerateChunk) -> GenerateChunk:
        """Both as one chunk."""
        return GenerateChunk(
            text=self.text + later.text,
            tokens=self.tokens + later.tokens,
            finish_reason=later.finish_reason or self.finish_reason,
            usage=later.usage or self.usage,
        )


class EmbedRequest(_Value):
    """Embeddings wanted of texts, each as it is or as token ids, from the model named `model`."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    adapters: tuple[tuple[str, float], ...] = ()


class Embeddings(_Value):
    """A vector of length 1 for each text."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int


class Capabilities(_Value):
    """What a loaded engine offers: tokens a request may take in all, requests at a time, saved states.

    `mixes`: whether a request may name several adapters and weigh them; without it, one in full.
    `logprobs`: whether it tells the probabilities of its tokens.
    `embedding_tokens` is how long a text may be of which it makes an embedding; 0 means it makes none.
    With `takes_adapters`, adapters come and go while it runs. A request for anything that is not listed is
    refused with `RequestError`.
    """

    context_length: int
    slots: int
    adapters: tuple[str, ...] = ()
    mixes: bool = True
    constraints: tuple[ConstraintKind, ...] = ()
    takes_adapters: bool = False
    states: bool = False
    logprobs: bool = False
    embedding_tokens: int = 0


class EngineSettings(Config):
    """How much of the machine an engine may use."""

    slots: int = option(
        4,
        en="Requests at a time",
        ja="同時に処理する数",
        help=(
            "Answers generated side by side; further requests wait.",
            "同時に生成する回答の数。超えた分は順番を待ちます。",
        ),
        ge=1,
        le=256,
    )
    context_length: int = option(
        4096,
        en="Context length",
        ja="文脈の長さ",
        help=(
            "Most tokens of prompt and answer together, at most what the model was made for. Memory grows with it.",
            "入力と回答を合わせた最大トークン数(モデルの上限まで)。長いほどメモリを使います。",
        ),
        ge=16,
    )
    threads: int = option(
        0,
        en="Threads",
        ja="スレッド数",
        help=("0: one a physical core.", "0 なら物理コアの数。"),
        ge=0,
        le=1024,
    )
    weights: Literal["int8", "int4", "fp32"] = option(
        "int8",
        en="Weights (RWKV)",
        ja="重みの精度 (RWKV)",
        help=(
            "int8: small and fast; int4: faster for one answer at a time, a little less exact; fp32: the same numbers as in training, four times the memory.",
            "int8 は小さく速い。int4 は一つずつ答えるとき速く、精度は少し落ちる。fp32 は学習時と同じ数値で、メモリは 4 倍。",
        ),
    )
    prefix_cache: int = option(
        256,
        en="Memory for earlier prompts, MiB (RWKV)",
        ja="以前の入力を覚えておくメモリ MiB (RWKV)",
        help=(
            "A prompt that begins like an earlier one is read from there. 0: none.",
            "以前の入力と同じ始まりの部分は読み直しません。0 なら使いません。",
        ),
        ge=0,
        le=1_048_576,
    )
    vllm_config: Path | None = option(
        None,
        en="Further options (vLLM)",
        ja="追加の設定 (vLLM)",
        help=(
            "A YAML file as `vllm serve --config` takes it.",
            "`vllm serve --config` に渡す YAML ファイル。",
        ),
    )


class LocalEngine(Protocol):
    """An engine in this process: it blocks its callers and belongs in a worker process."""

    @property
    def capabilities(self) -> Capabilities:
        """What is loaded."""

    @property
    def alive(self) -> bool:
        """Whether it can answer at all; if not, its process is to be ended and started again."""

    def complete(
        self,
        tokens: Sequence[int],
        request: GenerateRequest,
        on_chunk: Callable[[GenerateChunk], bool],
    ) -> None:
        """Continue `tokens` and give each piece to `on_chunk`, until that returns True or all is said.

        `on_chunk` may be called with empty pieces, and from another thread. As many threads may call as
        there are slots. Raises `ContextLengthError`, `RequestError` or `EngineError`.
        """

    def embed(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """A vector of length 1 for a text, by the base alone.

        Only where `capabilities` offer it, and for so many tokens. Raises `RequestError` or `EngineError`.
        """


@runtime_checkable
class TakesAdapters(Protocol):
    """A local engine whose adapters come and go while it answers."""

    def add_adapter(self, name: str, path: Path) -> None:
        """Load one more, under a name that is free; running answers go on.

        Raises `FormatError` or `ConflictError` for one that does not fit.
        """

    def remove_adapter(self, name: str) -> None:
        """Give its memory back. New requests for it are refused at once; waits for those there are."""


def check_queue(pending: int, most: int | None) -> None:
    """`BusyError` if as many requests as there may be are unfinished; None means any number."""
    if most is not None and pending >= most:
        raise BusyError(
            tr("too many requests are waiting", "順番待ちのリクエストが多すぎます"),
            fix=tr("try again soon", "少し待ってからもう一度お試しください"),
        )


def unknown_adapter(name: str) -> RequestError:
    """The error for an adapter that is not loaded."""
    return RequestError(
        tr(f"no adapter {name!r} is loaded", f"アダプター {name!r} は読み込まれていません")
    )


def unknown_token(token: int, vocab_size: int) -> RequestError:
    """The error for a token id that the model has no token for."""
    return RequestError(
        tr(
            f"there is no token {token}: this model has {vocab_size}",
            f"トークン {token} はありません(語彙は {vocab_size} 個)",
        )
    )


def room_after(tokens: Sequence[int], context_length: int) -> int:
    """How many tokens a context has left after these; `ContextLengthError` if none."""
    if len(tokens) < context_length:
        return context_length - len(tokens)
    raise ContextLengthError(
        tr(
            f"the prompt has {len(tokens)} tokens, and this model's context holds {context_length} with the answer",
            f"入力が {len(tokens)} トークンあります。このモデルの文脈は回答と合わせて {context_length} トークンまでです",
        ),
        fix=tr("shorten the prompt", "入力を短くしてください"),
    )


class Engine(Protocol):
    """Something that answers requests for one or more models."""

    @property
    def capabilities(self) -> Capabilities:
        """What is loaded, or was when it last ran; only after `start`."""

    @property
    def available(self) -> bool:
        """Whether it is up now; one that is not may come back at the next request."""

    @property
    def state(self) -> EngineState:
        """Whether it is up, and why not."""

    @property
    def pending(self) -> int:
        """Requests being answered or waiting for a slot."""

    async def start(self) -> None:
        """See to it that `capabilities` are known; does nothing where they are.

        Raises `EngineError` for an engine that does not start, `BusyError` if too many wait for it.
        """

    def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """Answer; closing the generator early cancels and frees the slot.

        Raises `RequestError` for a request that cannot be answered, `BusyError` when the queue is
        full, `EngineError` when the engine fails or goes away.
        """

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Embeddings of texts; cancelling frees the slot. Raises what `generate` raises."""

    async def close(self) -> None:
        """Stop everything and give the memory back."""
