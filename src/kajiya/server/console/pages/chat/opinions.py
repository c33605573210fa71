"""What people think of answers: said on the page, read by those who train, taken away as files."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal, cast, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.language import tr
from kajiya.server.access import clock
from kajiya.server.bodies import Body
from kajiya.server.chats.preference_export import FILES, Form, export
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.pages.chat.reader import caller
from kajiya.server.parsing import parse

_SHOWN = 200
_NOTHING = 204


class Comparison(Body):
    """Which side is better."""

    verdict: Literal["a", "b", "tie"]


class Rating(Body):
    """Whether an answer is good; empty takes it back."""

    verdict: Literal["up", "down", ""]


class Correction(Body):
    """How it should have been said."""

    text: str


async def compare(request: Request) -> Response:
    verdict = parse(await request.body(), Comparison).verdict
    return await _keep(request, the(request).chats.preferences.compare, verdict)


async def rate(request: Request) -> Response:
    verdict = parse(await request.body(), Rating).verdict
    return await _keep(request, the(request).chats.preferences.rate, verdict)


async def correct(request: Request) -> Response:
    text = parse(await request.body(), Correction).text
    return await _keep(request, the(request).chats.preferences.correct, text)


async def show(request: Request) -> Response:
    """What everybody said, the newest first."""
    preferences = the(request).chats.preferences
    listed = await asyncio.to_thread(preferences.list, None, _SHOWN)
    counts = await asyncio.to_thread(preferences.counts)
    names = await _names(request)
    return page(request, "chat/preferences.html", preferences=listed, counts=counts, names=names)


async def download(request: Request) -> Response:
    """All of them as a file."""
    wanted = request.path_params["form"]
    if wanted not in get_args(Form):
        raise NotFoundError(tr("there is no such file", "そのファイルはありません"))
    chosen = cast(Form, wanted)
    found = await asyncio.to_thread(the(request).chats.preferences.list)
    await note(request, "preferences.exported", chosen, rows=len(found))
    kind = "text/csv" if chosen == "table" else "application/jsonl"
    return StreamingResponse(
        export(found, chosen, await _names(request)),
        media_type=f"{kind}; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{FILES[chosen]}"',
            "Cache-Control": "no-store",
        },
    )


async def remove(request: Request) -> Response:
    """Forget one (`id`), or all that are older than so many `days`."""
    sent = await form(request)
    preferences = the(request).chats.preferences
    if id := sent.get("id"):
        await asyncio.to_thread(preferences.remove, id)
        await note(request, "preferences.deleted", id)
    else:
        days = sent.get("days", "")
        if not (days.isascii() and days.isdecimal() and int(days[:6]) <= 36500):
            raise ConfigError(
                tr("a number of days is needed", "日数を指定してください"), where="days"
            )
        before = clock.moment(clock.now() - timedelta(days=int(days)))
        gone = await asyncio.to_thread(preferences.remove_before, before)
        await note(request, "preferences.deleted", f"> {days}", rows=gone)
    return RedirectResponse("/chat/preferences", 303)


async def _keep(request: Request, keep: object, said: str) -> Response:
    assert callable(keep)
    await asyncio.to_thread(keep, caller(request).key_id, request.path_params["message"], said)
    return Response(status_code=_NOTHING)


async def _names(request: Request) -> dict[str, str]:
    people = await asyncio.to_thread(the(request).people.list)
    return {user.id: user.name for user in people}
