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
        _check_day(name, day)
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


def _check_day(name: str, text: str) -> None:
    try:
        if text and date.fromisoformat(text).isoformat() == text:
            return
    except ValueError:
        pass
    if text:
        raise ApiError(
            400,
            tr(
                f"{name}: {text!r} is not a day such as 2026-11-22",
                f"{name}: {text!r} は 2026-11-22 のような日付ではありません",
            ),
            param=name,
            code="invalid_value",
        )
