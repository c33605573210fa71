"""`GET /v1/usage`: what was used, by day, key and model. A key sees its own, the administrator all."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import date

from starlette.requests import Request
from starlette.responses import JSONResponse

from kajiya.core.errors import NotFoundError
from kajiya.core.language import tr
from kajiya.server.access.caller import ADMINISTRATOR, Caller
from kajiya.server.access.gate import Gate
from kajiya.server.access.usage import used
from kajiya.server.errors import ApiError
from kajiya.server.gateway import Gateway


async def list_usage(
    request: Request, key: str = "", model: str = "", since: str = "", until: str = ""
) -> JSONResponse:
    """`key` is a name or an id, `since` and `until` are days (2026-11-22), both included."""
    gateway: Gateway = request.app.state.gateway
    for name, day in (("since", since), ("until", until)):
        if day and not _is_day(day):
            raise _invalid(name, tr("a day such as 2026-11-22", "2026-11-22 のような日付"))
    for name, text in (("key", key), ("model", model)):
        if "\0" in text:  # PostgreSQL's texts cannot hold it
            raise _invalid(name, tr("a name", "名前"))
    rows = await asyncio.to_thread(
        lambda: used(
            gateway.gate.database,
            key=_key_id(gateway.gate, request.state.caller, key),
            model=model or None,
            since=since,
            until=until,
        )
    )
    data = [{**asdict(row), "total_tokens": row.total_tokens} for row in rows]
    return JSONResponse({"object": "list", "data": data})


def _key_id(gate: Gate, caller: Caller, wanted: str) -> str | None:
    """The id to report on; None for all. Another's key is to a caller as if it were not there."""
    if not wanted:
        return None if caller.is_administrator else caller.key_id
    try:
        found = wanted if wanted == ADMINISTRATOR else gate.keyring.get(wanted).id
    except NotFoundError:
        found = None
    if found is None or not (caller.is_administrator or caller.key_id == found):
        raise ApiError(
            404,
            tr(f"There is no key {wanted!r}", f"キー {wanted!r} はありません"),
            param="key",
            code="key_not_found",
        )
    return found


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _invalid(name: str, expected: str) -> ApiError:
    message = tr(f"{name}: {expected} is expected", f"{name}: {expected}を指定してください")
    return ApiError(400, message, param=name, code="invalid_value")
