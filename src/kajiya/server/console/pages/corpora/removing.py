"""Take-down: what a request means and who has seen it, then a job that makes a version without it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.errors import KajiyaError, NotFoundError
from kajiya.forge.take_down_plan import start_take_down
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.pages.corpora.corpus import address, find, store_of
from kajiya.store.artifacts import Artifact, ArtifactStore

_LONGEST = 2000  # characters of an id, a URL or a licence
_looking = asyncio.Semaphore(1)


async def show(request: Request) -> Response:
    """`?what=` is an id, a URL or a licence; without it, the question what it is to be."""
    return await _page(request, request.query_params.get("what", ""))


async def start(request: Request) -> Response:
    corpus = await find(request)
    what = (await form(request)).get("what", "").strip()[:_LONGEST]
    try:
        async with _looking:
            found = await asyncio.to_thread(_found, corpus, what)
    except NotFoundError as error:
        return await _page(request, what, 404, error)
    job = await asyncio.to_thread(start_take_down, corpus, what, the(request).workspace)
    await note(
        request,
        "corpus.taken-down",
        corpus.reference,
        what=what,
        documents=found.documents,
        dropped=found.dropped,
        job=job.id,
    )
    return RedirectResponse(f"/jobs/{job.id}", 303)


async def _page(
    request: Request, what: str, status: int = 200, error: KajiyaError | None = None
) -> Response:
    corpus = await find(request)
    what = what.strip()[:_LONGEST]
    found: Any = None
    seen: list[tuple[Artifact, str]] = []
    if what and error is None:
        async with _looking:
            found, seen = await asyncio.to_thread(_preview, store_of(request), corpus, what)
    return page(
        request,
        "corpora/removal.html",
        status,
        corpus=corpus,
        here=address(corpus),
        what=what,
        found=found,
        seen=seen,
        error=error,
    )


def _preview(
    store: ArtifactStore, corpus: Artifact, what: str
) -> tuple[Any, list[tuple[Artifact, str]]]:
    from kajiya.corpus.removal import find as find_documents
    from kajiya.corpus.taking_down import holders

    found = find_documents(corpus.folder, what)
    return found, [(each, address(each)) for each in holders(store, corpus.name, what)]


def _found(corpus: Artifact, what: str) -> Any:
    from kajiya.corpus.removal import find as find_documents
    from kajiya.corpus.taking_down import nothing_meant

    found = find_documents(corpus.folder, what) if what else None
    if not found:
        raise nothing_meant(corpus, what)
    return found
