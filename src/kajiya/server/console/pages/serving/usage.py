"""What was used, day by day, by key and by model: the ledger that `kajiya keys usage` shows."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from kajiya.core.language import tr
from kajiya.server.access import clock
from kajiya.server.access.caller import ADMINISTRATOR
from kajiya.server.access.usage import Dimension, Used, used
from kajiya.server.console.context import page, the
from kajiya.server.console.pages.serving.chart import Bars, bars_svg

_DAYS = (7, 30, 90, 365)
_SERIES = 5  # in their own colour; the rest is one


async def show(request: Request) -> Response:
    """The last `?days=`, the chart by `?by=key` or `model`."""
    wanted = request.query_params.get("days", "30")
    days = int(wanted) if wanted.isdecimal() and int(wanted[:4]) in _DAYS else 30
    by: Dimension = "model" if request.query_params.get("by") == "model" else "key"
    today = clock.now().date()
    first = today - timedelta(days=days - 1)
    database = the(request).gateway.gate.database

    def rows(*dimensions: Dimension) -> list[Used]:
        return used(database, dimensions, since=first.isoformat())

    names = await _names(request)
    daily = await asyncio.to_thread(rows, "day", by)
    tables = {each: await asyncio.to_thread(rows, each) for each in ("key", "model")}
    chart = _chart(daily, by, first, days, names)
    return page(
        request,
        "serving/usage.html",
        days=days,
        choices=_DAYS,
        by=by,
        chart=chart,
        picture=Markup(bars_svg(chart)),  # noqa: S704 (made of elements whose words are escaped)
        tables={each: _sorted(found) for each, found in tables.items()},
        names=names,
        requests=sum(row.requests for row in tables["model"]),
        tokens=sum(row.total_tokens for row in tables["model"]),
        failed=sum(row.errors + row.interrupted for row in tables["model"]),
    )


def _chart(rows: list[Used], by: Dimension, first: date, days: int, names: dict[str, str]) -> Bars:
    totals: dict[str, int] = {}
    for row in rows:
        totals[getattr(row, by)] = totals.get(getattr(row, by), 0) + row.total_tokens
    largest = sorted(totals, key=lambda key: (-totals[key], key))[:_SERIES]
    labels = [(first + timedelta(days=n)).isoformat() for n in range(days)]
    values = {key: [0] * days for key in largest}
    rest = [0] * days
    place = {day: n for n, day in enumerate(labels)}
    for row in rows:
        if row.day in place:  # a clock that was moved may have written down tomorrow
            values.get(getattr(row, by), rest)[place[row.day]] += row.total_tokens
    series = [(names.get(key, key), numbers) for key, numbers in values.items()]
    if any(rest):
        series.append((tr("others", "その他"), rest))
    return Bars(tr("Tokens a day", "1 日のトークン数"), labels, series)


def _sorted(rows: list[Used]) -> list[Used]:
    return sorted(rows, key=lambda row: -row.total_tokens)


async def _names(request: Request) -> dict[str, str]:
    """Keys' and people's names by their ids."""
    console = the(request)
    keys = await asyncio.to_thread(console.gateway.gate.keyring.list)
    people = await asyncio.to_thread(console.people.list)
    named: dict[str, Any] = {key.id: key.name for key in keys}
    named |= {user.id: tr(f"{user.name} (console)", f"{user.name}(画面)") for user in people}
    return named | {ADMINISTRATOR: tr("administrator's key", "管理者のキー")}
