"""From an engine's chunks to a response: one JSON object, or a stream of server-sent events.

Both end the generation as soon as the client has left.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from kajiya.inference.protocol import FinishReason, GenerateChunk, Usage
from kajiya.server.errors import as_api_error

Chunks = AsyncGenerator[tuple[int, GenerateChunk]]
Choice = dict[str, Any]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Shape:
    """How one kind of answer looks in the API: whole, and in pieces."""

    whole_object: str
    piece_object: str
    whole: Callable[[int, str, FinishReason | None], Choice]
    piece: Callable[[int, str, FinishReason | None], Choice]
    opening: Callable[[int], Choice] | None = None


@dataclass
class Answer:
    """One response in the making. `choices` is the number of answers to each prompt."""

    id: str
    model: str
    shape: Shape
    choices: int
    with_usage: bool
    created: int = field(default_factory=lambda: int(time.time()))
    used: dict[int, Usage] = field(default_factory=dict)

    async def respond(self, request: Request, chunks: Chunks, stream: bool) -> Response:
        """The response; an error before the first chunk is raised, so it gets its own status."""
        if not stream:
            whole = await unless_client_leaves(request.receive, self._collect(chunks))
            return JSONResponse(whole) if whole else Response()
        first = await unless_client_leaves(request.receive, _first(chunks))
        return EventStream(self._events(first, chunks)) if first else Response()

    async def _collect(self, chunks: Chunks) -> dict[str, Any]:
        texts: dict[int, str] = {}
        reasons: dict[int, FinishReason | None] = {}
        async with aclosing(chunks):
            async for index, chunk in chunks:
                self._count(index, chunk)
                texts[index] = texts.get(index, "") + chunk.text
                reasons[index] = chunk.finish_reason
        return {
            **self._head(self.shape.whole_object),
            "choices": [self.shape.whole(i, texts[i], reasons[i]) for i in sorted(texts)],
            "usage": self._usage(),
        }

    async def _events(
        self, first: tuple[int, GenerateChunk], chunks: Chunks
    ) -> AsyncGenerator[dict[str, Any] | None]:
        """The events' contents; None ends a stream that went well."""
        async with aclosing(chunks):
            try:
                for choice in self._pieces(*first):
                    yield self._event([choice])
                async for index, chunk in chunks:
                    for choice in self._pieces(index, chunk):
                        yield self._event([choice])
            except Exception as error:
                yield as_api_error(error).body()
                return
        if self.with_usage:
            yield {**self._event([]), "usage": self._usage()}
        yield None

    def _pieces(self, index: int, chunk: GenerateChunk) -> list[Choice]:
        pieces = []
        if index not in self.used and self.shape.opening:
            pieces.append(self.shape.opening(index))
        self._count(index, chunk)
        if chunk.text:
            pieces.append(self.shape.piece(index, chunk.text, None))
        if chunk.finish_reason:
            pieces.append(self.shape.piece(index, "", chunk.finish_reason))
        return pieces

    def _event(self, choices: list[Choice]) -> dict[str, Any]:
        usage = {"usage": None} if self.with_usage else {}
        return {**self._head(self.shape.piece_object), "choices": choices, **usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _count(self, index: int, chunk: GenerateChunk) -> None:
        if chunk.usage:
            self.used[index] = chunk.usage

    def _usage(self) -> dict[str, int]:
        read, written = total(self.used, self.choices)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def total(used: Mapping[int, Usage], choices: int) -> tuple[int, int]:
    """Tokens read and written by several answers; `choices` of them to one prompt read it once."""
    read = sum(usage.prompt_tokens for index, usage in used.items() if index % choices == 0)
    return read, sum(usage.completion_tokens for usage in used.values())


class EventStream(Response):
    """Server-sent events that stop being made when nobody reads them."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[dict[str, Any] | None]) -> None:
        self.status_code = 200
        self.background = None
        self._events = events
        self.init_headers({"Cache-Control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await unless_client_leaves(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            async for event in events:
                text = "[DONE]" if event is None else json.dumps(event, ensure_ascii=False)
                body = f"data: {text}\n\n".encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_client_leaves(
    receive: Receive, work: Coroutine[Any, Any, Result]
) -> Result | None:
    """The result of `work`, or None, with `work` cancelled, if the client leaves before."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(chunks: Chunks) -> tuple[int, GenerateChunk]:
    try:
        return await anext(chunks)
    except BaseException:
        await chunks.aclose()
        raise
