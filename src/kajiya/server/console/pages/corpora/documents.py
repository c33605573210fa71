"""Kept and dropped documents side by side, filtered and a page at a time; and one of them as a whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from kajiya.core.errors import NotFoundError
from kajiya.core.language import tr
from kajiya.server.console.context import page
from kajiya.server.console.pages.corpora.corpus import address, find, read_facts, waterfall
from kajiya.store.artifacts import Artifact

if TYPE_CHECKING:
    from kajiya.corpus.browse import Side

_FILTERS = ("source", "why", "words")  # `why` is a stage, or a stage and a reason: rules/length
_SIDES: tuple[Side, ...] = ("dropped", "kept")
_EXCERPT = 300  # characters in a list
_looking = asyncio.Semaphore(2)  # a search reads the small columns of every part


async def show(request: Request) -> Response:
    corpus = await find(request)
    asked = {name: request.query_params.get(name, "")[:200] for name in _FILTERS}
    side, text = (request.query_params.get(name, "") for name in ("side", "page"))
    side = side if side in _SIDES else ""
    number = max(1, int(text)) if text.isdecimal() and len(text) < 9 else 1
    async with _looking:
        values = await asyncio.to_thread(_values, corpus, asked, side, number)
    here = address(corpus)
    kept = {name: value for name, value in asked.items() if value}

    def link(side: str, number: int = 1) -> str:
        more = {"side": side} if side else {}
        more |= {"page": str(number)} if number > 1 else {}
        query = urlencode(kept | more)
        return f"{here}/documents?{query}" if query else f"{here}/documents"

    return page(
        request,
        "corpora/documents.html",
        corpus=corpus,
        here=here,
        asked=asked,
        side=side,
        link=link,
        whole=_whole(here),
        **values,
    )


def _values(corpus: Artifact, asked: dict[str, str], side: str, number: int) -> dict[str, Any]:
    from kajiya.corpus.browse import Query, look_through

    facts = read_facts(corpus)
    stage, _, reason = asked["why"].partition("/")
    query = Query(asked["source"], stage, reason, asked["words"].strip())
    sides = [each for each in _SIDES if side in ("", each)]
    columns = {each: look_through(corpus.folder, each, query, number) for each in sides}
    pages = max(found.pages for found in columns.values())
    if number > pages:
        return _values(corpus, asked, side, pages)
    return {
        "columns": {
            # The shorter side has no such page, and would repeat its last.
            each: {"total": found.total, "rows": _told(found.rows) if found.page == number else []}
            for each, found in columns.items()
        },
        "number": number,
        "pages": pages,
        "sources": [row["name"] for row in facts["groups"]["source"]],
        "reasons": waterfall(facts),
    }


async def show_one(request: Request) -> Response:
    """One document: all that is known of it, its text, and what the rules measured."""
    corpus = await find(request)
    asked = {name: request.query_params.get(name, "") for name in ("side", "source", "id")}
    if asked["side"] not in _SIDES:
        raise NotFoundError(tr("there is no such document", "その文書はありません"))
    async with _looking:
        row, statistics = await asyncio.to_thread(_one, corpus, **asked)
    return page(
        request,
        "corpora/document.html",
        corpus=corpus,
        here=address(corpus),
        row=row,
        side=asked["side"],
        statistics=statistics,
    )


def _one(
    corpus: Artifact, side: Any, source: str, id: str
) -> tuple[dict[str, Any], list[tuple[str, float, bool]]]:
    from kajiya.corpus.browse import find_document
    from kajiya.corpus.report.words import reason

    row = find_document(corpus.folder, side, source, id)
    statistics = [
        (tr(*reason(name)), value, name == row["reason"])
        for name, value in row["statistics"].items()
    ]
    return _told([row])[0], statistics


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the reason in the reader's words, and an excerpt."""
    from kajiya.corpus.report.words import STAGES, reason

    return [
        row
        | {
            "excerpt": row["text"][:_EXCERPT],
            "more": row["characters"] > _EXCERPT,
            "stage_words": tr(*STAGES.get(row["stage"], (row["stage"], row["stage"]))),
            "words": tr(*reason(row["reason"])),
        }
        for row in rows
    ]


def _whole(here: str) -> Any:
    def whole(side: str, row: dict[str, Any]) -> str:
        query = urlencode({"side": side, "source": row["source"], "id": row["id"]})
        return f"{here}/document?{query}"

    return whole
