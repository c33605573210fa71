"""A server that answers every request with the bytes a test wants, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
NO_LIST = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Scripted:
    """The server: `url` with /v1, and the requests so far, each as it came."""

    url: str = ""
    asked: list[bytes] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def scripted(answer: bytes, *, then_hang: bool = False) -> AsyncIterator[Scripted]:
    """Answers POST with `answer`, and GET as a server that has no list of models.

    With `then_hang`, the connection stays open until the client leaves.
    """
    script = Scripted()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        posted = head.startswith(b"POST")
        if posted:
            script.asked.append(head + await reader.readexactly(_length(head)))
        writer.write(answer if posted else NO_LIST)
        await writer.drain()
        if posted and then_hang:
            await reader.read()
            script.left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield script
    finally:
        server.close()


def refusal(status: str, body: bytes, *headers: bytes) -> bytes:
    """A whole answer that is not a stream."""
    lines = [f"HTTP/1.1 {status}".encode(), f"Content-Length: {len(body)}".encode(), *headers]
    return b"\r\n".join([*lines, b"Connection: close", b"", body])


def events(*data: bytes) -> bytes:
    """A stream of these events."""
    return STREAM + b"".join(b"data: " + one + b"\n\n" for one in data)


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
