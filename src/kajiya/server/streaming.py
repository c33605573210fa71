"""From an engine's chunks to a response: one JSON object, or a stream of server-sent events.

Both end the generation as soon as the client has left. What is in them is up to a `Reply`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from kajiya.inference.protocol import GenerateChunk
from kajiya.server.errors import ApiError, as_api_error

Chunks = AsyncGenerator[tuple[int, GenerateChunk]]
Result = TypeVar("Result")


class Reply(Protocol):
    """What one kind of response says. Answers are known by their index; events are of `event`."""

    def whole(self, answers: dict[int, GenerateChunk]) -> dict[str, Any]:
        """The JSON object, from whole answers."""

    def begin(self) -> Iterable[str]:
        """The events before anything was said."""

    def take(self, index: int, chunk: GenerateChunk) -> Iterable[str]:
        """The events for a piece of an answer."""

    def end(self) -> Iterable[str]:
        """The events after everything was said."""

    def failed(self, error: ApiError) -> Iterable[str]:
        """The events instead of `end` if something went wrong."""


async def respond(request: Request, chunks: Chunks, reply: Reply, stream: bool) -> Response:
    """The response; an error before the first chunk is raised, so it gets its own status."""
    if not stream:
        answers = await unless_client_leaves(request.receive, _collect(chunks))
        return JSONResponse(reply.whole(answers)) if answers else Response()
    first = await unless_client_leaves(request.receive, _first(chunks))
    return EventStream(_events(first, chunks, reply)) if first else Response()


def event(content: dict[str, Any] | str, name: str = "") -> str:
    """A server-sent event."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n"


class EventStream(Response):
    """Server-sent events that stop being made when nobody reads them."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str]) -> None:
        self.status_code = 200
        self.background = None
        self._events = events
        self.init_headers({"Cache-Control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await unless_client_leaves(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            async for text in events:
                body = text.encode()
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


async def _collect(chunks: Chunks) -> dict[int, GenerateChunk]:
    answers: dict[int, GenerateChunk] = {}
    async with aclosing(chunks):
        async for index, chunk in chunks:
            answers[index] = answers[index].followed_by(chunk) if index in answers else chunk
    return dict(sorted(answers.items()))


async def _events(
    first: tuple[int, GenerateChunk], chunks: Chunks, reply: Reply
) -> AsyncGenerator[str]:
    async with aclosing(chunks):
        try:
            for text in (*reply.begin(), *reply.take(*first)):
                yield text
            async for index, chunk in chunks:
                for text in reply.take(index, chunk):
                    yield text
        except Exception as error:
            for text in reply.failed(as_api_error(error)):
                yield text
            return
    for text in reply.end():
        yield text


async def _first(chunks: Chunks) -> tuple[int, GenerateChunk]:
    try:
        return await anext(chunks)
    except BaseException:
        await chunks.aclose()
        raise
