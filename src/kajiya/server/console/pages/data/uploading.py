"""A file comes in: straight to disk, whatever its size, and not a byte more than is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kajiya.core.language import tr
from kajiya.data.problems import TableError
from kajiya.data.source import DEFAULT_LIMIT, MEGABYTE
from kajiya.data.uploads import Incoming, Uploads
from kajiya.server.console.context import note, the
from kajiya.server.errors import ApiError

_PIECE = 1 << 20  # written at a time, in a thread


async def receive(request: Request) -> Response:
    """The body is the file, `?name=` what its owner calls it."""
    uploads = Uploads(the(request).workspace)
    said = request.headers.get("content-length", "")
    size = int(said) if said.isdecimal() else None
    try:
        async with _in_threads(uploads.receive(request.query_params.get("name", ""), size)) as file:
            buffer = bytearray()
            async for piece in request.stream():
                buffer += piece
                if len(buffer) >= _PIECE:
                    await asyncio.to_thread(file.write, bytes(buffer))
                    buffer.clear()
            await asyncio.to_thread(file.write, bytes(buffer))
    except TableError as error:
        if error.code != "too_large":
            raise
        raise ApiError(
            413,
            tr(
                f"{error.message}. Split it, or import it on the command line with a higher --limit-mb",
                f"{error.message}。分割するか、コマンドラインで --limit-mb を上げて取り込んでください",
            ),
            code="too_large",
            headers={"Connection": "close"},
        ) from None
    upload = uploads.get(file.id)
    await note(request, "data.uploaded", upload.name, bytes=upload.size)
    return JSONResponse({"id": upload.id, "name": upload.name, "size": upload.size})


def limit_text() -> str:
    """The limit, as it is shown."""
    return f"{DEFAULT_LIMIT // MEGABYTE} MB"


@asynccontextmanager
async def _in_threads(manager: AbstractContextManager[Incoming]) -> AsyncIterator[Incoming]:
    """`manager`, whose begin and end wait for the disk."""
    file = await asyncio.to_thread(manager.__enter__)
    try:
        yield file
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)
