"""Settings › audit log: who did what, with filters, as a page and as a file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from kajiya.server.access import clock
from kajiya.server.access.audit import Audit, Entry
from kajiya.server.console.context import note, page, the
from kajiya.server.console.csv_file import csv_response

_PAGE = 100


@dataclass(frozen=True)
class _Filter:
    """What the address asks for; days are of this machine's calendar, both included."""

    who: str
    action: str
    since: str
    until: str

    def entries(self, audit: Audit, before: int = 0, limit: int | None = None) -> list[Entry]:
        first, last = _day(self.since), _day(self.until)
        return audit.entries(
            who=self.who,
            action=self.action,
            since=_midnight(first) if first else "",
            until=_midnight(last + timedelta(days=1)) if last else "",
            before=before,
            limit=limit,
        )

    def address(self, path: str, **more: object) -> str:
        values = {name: value for name, value in {**self.__dict__, **more}.items() if value}
        return f"{path}?{urlencode(values)}" if values else path


async def show(request: Request) -> Response:
    audit, wanted = the(request).audit, _wanted(request)
    text = request.query_params.get("before", "")
    before = int(text) if text.isdecimal() and len(text) < 16 else 0
    found = await asyncio.to_thread(wanted.entries, audit, before, _PAGE + 1)
    entries = found[:_PAGE]
    older = len(found) > _PAGE
    return page(
        request,
        "settings/audit.html",
        entries=[(entry, _words(entry.detail)) for entry in entries],
        names=[(name, name) for name in await asyncio.to_thread(audit.names) if name],
        wanted=wanted,
        export=wanted.address("/settings/audit.csv"),
        older=wanted.address("/settings/audit", before=entries[-1].id) if older else "",
        newest=wanted.address("/settings/audit") if before else "",
    )


async def export(request: Request) -> Response:
    wanted = _wanted(request)
    entries = await asyncio.to_thread(wanted.entries, the(request).audit)
    await note(request, "audit.exported", rows=len(entries))
    rows = [(e.at, e.who, e.action, e.subject, _words(e.detail)) for e in entries]
    return csv_response("kajiya-audit.csv", ("at", "who", "action", "subject", "detail"), rows)


def _wanted(request: Request) -> _Filter:
    query = request.query_params
    # PostgreSQL's texts cannot hold a NUL.
    values = {n: query.get(n, "").replace("\0", "") for n in ("who", "action", "since", "until")}
    for name in ("since", "until"):
        values[name] = values[name] if _day(values[name]) else ""
    return _Filter(**values)


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 1970 <= day.year < 9999 else None


def _midnight(day: date) -> str:
    begin = datetime(day.year, day.month, day.day).astimezone()
    return clock.moment(begin)


def _words(detail: dict[str, object]) -> str:
    return ", ".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in detail.items()
    )
