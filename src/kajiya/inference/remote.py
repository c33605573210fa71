"""Models that somebody else serves, at any endpoint that speaks OpenAI's API.

There is no tokenizer here: the endpoint renders messages and counts tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, get_args

from kajiya.core.errors import EngineError
from kajiya.core.language import tr
from kajiya.inference.endpoint import Endpoint, ModelCard
from kajiya.inference.openai_api import body_of, chunks_of
from kajiya.inference.prompts import no_embeddings, unknown_model
from kajiya.inference.protocol import (
    Capabilities,
    ConstraintError,
    ConstraintKind,
    Embeddings,
    EmbedRequest,
    EngineState,
    GenerateChunk,
    GenerateRequest,
    check_queue,
    room_after,
    unknown_adapter,
)
from kajiya.inference.remotes import Remote

# Where neither the owner nor the endpoint tells; then the endpoint itself refuses what is too long.
_UNKNOWN_CONTEXT = 131_072


class RemoteEngine:
    """An `Engine` for the model called `name` here, at the endpoint `remote`.

    With `max_pending`, a request that finds so many unfinished ones is refused with `BusyError`.
    """

    def __init__(self, name: str, remote: Remote, *, max_pending: int | None = None) -> None:
        self._name, self._remote, self._max_pending = name, remote, max_pending
        self._endpoint: Endpoint | None = None
        self._capabilities: Capabilities | None = None
        self._starting = asyncio.Lock()
        self._reached = False
        self._pending = 0
        self._closed = False

    async def start(self) -> None:
        """Ask the endpoint what it serves. Raises `EngineError`, or `ConfigError` for its key."""
        await self._connected()

    @property
    def capabilities(self) -> Capabilities:
        """What was configured, and what the endpoint tells; only after `start`."""
        assert self._capabilities is not None
        return self._capabilities

    @property
    def available(self) -> bool:
        return self._reached

    @property
    def state(self) -> EngineState:
        """See `Engine.state`."""
        return "up" if self._reached else "failing" if self._capabilities else "idle"

    @property
    def pending(self) -> int:
        return self._pending

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """See `Engine.generate`."""
        check_queue(self._pending, self._max_pending)
        self._pending += 1
        try:
            endpoint = await self._connected()
            path, body = self._asked(request)
            events = endpoint.events(path, body)
            async with aclosing(chunks_of(events, len(request.tokens or ()))) as chunks:
                async for chunk in chunks:
                    self._reached = True
                    yield chunk
        except EngineError:
            self._reached = False
            raise
        finally:
            self._pending -= 1

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Not offered: see `Engine.embed`."""
        raise no_embeddings(request.model)

    async def close(self) -> None:
        self._closed = True
        self._reached = False
        if self._endpoint:
            await self._endpoint.close()

    async def _connected(self) -> Endpoint:
        async with self._starting:
            if self._closed:
                raise EngineError(tr("the engine was closed", "エンジンは終了しました"))
            if self._endpoint:
                return self._endpoint
            remote = self._remote
            endpoint = Endpoint(
                self._name,
                remote.url,
                remote.key(),
                connections=remote.parallel,
                seconds=remote.seconds,
            )
            try:
                cards = await endpoint.models()
            except BaseException:
                await endpoint.close()
                raise
            self._capabilities = _capabilities(remote, cards)
            self._endpoint, self._reached = endpoint, True
            return endpoint

    def _asked(self, request: GenerateRequest) -> tuple[str, dict[str, Any]]:
        """Path and body for `request`; `RequestError` for what was not stated as a capability."""
        if request.model != self._name:
            raise unknown_model(request.model)
        if request.adapters:
            raise unknown_adapter(request.adapters[0][0])
        wanted = request.constraint
        if wanted and wanted.kind not in self.capabilities.constraints:
            raise ConstraintError(
                tr(
                    f"the engine of this model takes no constraint of the kind {wanted.kind}",
                    f"このモデルのエンジンは {wanted.kind} の指定に対応していません",
                )
            )
        path, prompt = _prompt(request)
        length = _length(request, self.capabilities.context_length)
        return path, body_of(request, self._remote.model) | prompt | length


def _capabilities(remote: Remote, cards: list[ModelCard]) -> Capabilities:
    card = next((card for card in cards if card.id == remote.model), None)
    told = card.max_model_len if card else None
    every: tuple[ConstraintKind, ...] = get_args(ConstraintKind)
    vllm = card is not None and card.owned_by == "vllm"
    return Capabilities(
        context_length=remote.context_length or told or _UNKNOWN_CONTEXT,
        slots=remote.parallel,
        constraints=every if vllm else remote.constraints,
    )


def _prompt(request: GenerateRequest) -> tuple[str, dict[str, Any]]:
    if request.messages is not None:
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        return "chat/completions", {"messages": turns}
    if request.tokens is not None:
        return "completions", {"prompt": list(request.tokens)}
    return "completions", {"prompt": request.text}


def _length(request: GenerateRequest, context_length: int) -> dict[str, int]:
    """`max_tokens`, where as much as the context holds has no word of its own in the API.

    Without `max_tokens`, a chat goes as far as that, but a completion is cut after 16 tokens.
    """
    if request.tokens is not None:
        room = room_after(request.tokens, context_length)
        return {"max_tokens": min(request.max_tokens or room, room)}
    if request.max_tokens and request.max_tokens < context_length:
        return {"max_tokens": request.max_tokens}
    if request.messages is not None:
        return {}
    # A token is at least a byte, so this surely fits; too long a text is for the endpoint to refuse.
    return {"max_tokens": max(1, context_length - len((request.text or "").encode()))}
