"""Server-sent events: what happens, as it happens, and what was missed while a browser was away.

Each message is numbered by the position in the file that it came from; a browser that lost its
connection sends the last number, and is told everything from there on.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from kajiya.core.events import read_lines
from kajiya.jobs.job import Job, read_job
from kajiya.server.console.context import the

_LOOK_SECONDS = 0.3
_QUIET_SECONDS = 15.0  # a sign of life as often as this, so that a connection that died is noticed
_PIECE = 256 * 1024


@dataclass(frozen=True)
class Message:
    """One event for `EventSource`: its name, its data (as JSON) and the number to go on from."""

    event: str
    data: Any
    id: str = ""

    def encode(self) -> bytes:
        number = f"id: {self.id}\n" if self.id else ""
        data = json.dumps(_readable(self.data), ensure_ascii=False, allow_nan=False)
        return f"{number}event: {self.event}\ndata: {data}\n\n".encode()


def _readable(value: Any) -> Any:
    """Without numbers that browsers cannot read: a loss that is no number any more becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _readable(part) for key, part in value.items()}
    return [_readable(part) for part in value] if isinstance(value, list) else value


def event_stream(request: Request, messages: AsyncIterator[Message | None]) -> StreamingResponse:
    """Send messages until there are no more, the browser leaves or the server stops; None is no news."""

    async def sending() -> AsyncIterator[bytes]:
        quiet = 0.0
        yield b"retry: 1000\n\n"
        async for message in messages:
            if the(request).gateway.draining:
                return  # the browser comes back and asks until somebody answers
            if message is not None:
                quiet = 0.0
                yield message.encode()
                continue
            quiet += _LOOK_SECONDS
            if quiet >= _QUIET_SECONDS:
                quiet = 0.0
                yield b": still here\n\n"

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(sending(), media_type="text/event-stream", headers=headers)


def last_position(request: Request) -> int:
    """Where the browser stopped: the header it sends when it comes back, or `?from=` of a page."""
    text = request.headers.get("last-event-id") or request.query_params.get("from", "0")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def follow_job(request: Request, folder: Path) -> StreamingResponse:
    """A job's events: `events` with a list of them, `state` when that changes, `end` after the last."""
    return event_stream(request, _job_messages(folder, last_position(request)))


def state_of(job: Job) -> dict[str, Any]:
    """What a page shows of a job's state at once."""
    return {
        "state": job.state.value,
        "label": job.state.label,
        "ended": job.ended,
        "error": job.error.model_dump() if job.error else None,
    }


async def _job_messages(folder: Path, position: int) -> AsyncIterator[Message | None]:
    told: dict[str, Any] = {}
    while True:
        # The state first: what a job writes before it ends is in the file by then.
        state = state_of(await asyncio.to_thread(read_job, folder))
        if state != told:
            told = state
            yield Message("state", state)
        path = folder / "events.jsonl"
        while True:
            events, end = await asyncio.to_thread(read_lines, path, position, _PIECE)
            if end == position:
                break
            position = end
            yield Message("events", [event.model_dump(mode="json") for event in events], str(end))
        if state["ended"]:
            yield Message("end", state)
            return
        yield None
        await asyncio.sleep(_LOOK_SECONDS)


async def follow_file(
    path: Path, position: int, ended: Callable[[], bool]
) -> AsyncIterator[Message | None]:
    """The text of a log as it grows: `text` messages; `end` when `ended()` and all was told."""
    while True:
        last = await asyncio.to_thread(ended)
        while True:
            text, end = await asyncio.to_thread(_read_text, path, position)
            if end == position:
                break
            position = end
            yield Message("text", text, str(end))
        if last:
            yield Message("end", None)
            return
        yield None
        await asyncio.sleep(_LOOK_SECONDS)


def _read_text(path: Path, position: int) -> tuple[str, int]:
    """A piece of the file from `position`, never half a character."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read(_PIECE)
    except FileNotFoundError:
        return "", position
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    held, _ = decoder.getstate()
    return text, position + len(data) - len(held)
