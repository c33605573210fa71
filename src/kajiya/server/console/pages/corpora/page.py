"""Corpora: what is there, one of them, its report and its files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse

from kajiya.core.errors import NotFoundError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.corpus import layout
from kajiya.jobs.status import State
from kajiya.jobs.supervisor import Supervisor
from kajiya.server.access.users import Role
from kajiya.server.console.context import note, page, the
from kajiya.server.console.formatting import moment_text
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.corpora import documents, making, removing
from kajiya.server.console.pages.corpora.corpus import (
    address,
    find,
    read_facts,
    store_of,
    waterfall,
)
from kajiya.server.console.pages.jobs.view import row_of
from kajiya.server.settings import MIB
from kajiya.store.artifacts import Artifact, ArtifactStore

_JOBS = ("corpus", "take-down")
_RUNS = 20  # shown
_RECIPE = 4 * MIB  # 200,000 characters, as a form sends them
_PLAIN = {
    layout.FACTS: "application/json",
    layout.RECIPE: "application/yaml",
}


async def show_list(request: Request) -> Response:
    values = await asyncio.to_thread(_list_values, the(request).workspace)
    return page(request, "corpora/list.html", **values)


def _list_values(workspace: Workspace) -> dict[str, Any]:
    found = ArtifactStore(workspace).list(layout.KIND)
    newest = {corpus.name: corpus for corpus in found}
    rows = [_row(c) | {"versions": sum(o.name == c.name for o in found)} for c in newest.values()]
    unfinished = [
        row_of(job)
        for job in reversed(Supervisor(workspace).list())
        if job.spec and job.spec.kind in _JOBS and job.state is not State.SUCCEEDED
    ]
    return {
        "rows": sorted(rows, key=lambda row: str(row["created"]), reverse=True),
        "runs": unfinished[:_RUNS],
    }


async def show(request: Request) -> Response:
    """One version: its totals, what is in it, what was left out, and what was made of it."""
    corpus = await find(request)
    values = await asyncio.to_thread(_values, store_of(request), corpus)
    return page(request, "corpora/corpus.html", **values)


def _values(store: ArtifactStore, corpus: Artifact) -> dict[str, Any]:
    facts = read_facts(corpus)
    return {
        "corpus": _row(corpus),
        "here": address(corpus),
        "totals": facts["totals"],
        "shards": facts["shards"],
        "groups": {name: facts["groups"][name] for name in ("source", "licence")},
        "waterfall": waterfall(facts),
        "personal": _personal(facts),
        "removed": corpus.manifest.details.get("removed", []),
        "recipe": (corpus.folder / layout.RECIPE).read_text(encoding="utf-8"),
        "versions": [_row(o) for o in store.list(layout.KIND) if o.name == corpus.name][::-1],
        "used": [child for child in store.children(corpus) if child.kind != layout.KIND],
    }


def _personal(facts: dict[str, Any]) -> list[tuple[str, int, int]]:
    from kajiya.corpus.report.words import KINDS

    return [(tr(*KINDS[row["kind"]]), row["found"], row["documents"]) for row in facts["personal"]]


def _row(corpus: Artifact) -> dict[str, Any]:
    manifest = corpus.manifest
    return {
        "name": corpus.name,
        "version": manifest.version,
        "reference": corpus.reference,
        "address": address(corpus),
        "documents": manifest.details.get("documents", 0),
        "read": manifest.details.get("documents_read", 0),
        "characters": manifest.details.get("characters", 0),
        "tokens": manifest.details.get("training_tokens"),
        "size": manifest.size,
        "created": manifest.created_at,
        "made": moment_text(manifest.created_at),
    }


async def report(request: Request) -> Response:
    """The report in the reader's language, apart from the console: without its cookie, scripts and origin."""
    from kajiya.corpus.report.page import policy

    corpus = await find(request)
    html = await asyncio.to_thread(_report, corpus)
    apart = f"{policy()}; frame-ancestors 'none'; sandbox allow-scripts"
    return HTMLResponse(
        html, headers={"Content-Security-Policy": apart, "Cache-Control": "no-store"}
    )


def _report(corpus: Artifact) -> str:
    from kajiya.corpus.report.page import render

    return render("report", corpus.name, read_facts(corpus))


async def download(request: Request) -> Response:
    """Its report, its recipe, or all documents of one side."""
    corpus, file = await find(request), request.path_params["file"]
    name = f"{corpus.name}-{corpus.manifest.version}-{file}"
    attached = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    if file == layout.PAGE:
        html = await asyncio.to_thread(_report, corpus)
        return Response(html, media_type="application/octet-stream", headers=attached)
    if file in _PLAIN:
        return FileResponse(corpus.folder / file, media_type=_PLAIN[file], headers=attached)
    if file not in _LINES:
        raise NotFoundError(
            tr("there is no such file", "そのファイルはありません"), where=file[:40]
        )
    await note(request, "corpus.exported", corpus.reference, file=file)
    return StreamingResponse(_LINES[file](corpus), media_type="application/jsonl", headers=attached)


def _kept(corpus: Artifact) -> Iterator[str]:
    from kajiya.corpus.browse import export

    return export(corpus.folder, "kept")


def _dropped(corpus: Artifact) -> Iterator[str]:
    from kajiya.corpus.browse import export

    return export(corpus.folder, "dropped")


_LINES: dict[str, Callable[[Artifact], Iterator[str]]] = {
    "documents.jsonl": _kept,
    "dropped.jsonl": _dropped,
}
_ONE = "/corpora/{name}/versions/{version}"
PAGE = Page(
    "corpora",
    icon="corpora",
    routes=(
        Route("GET", "/corpora", show_list, Role.VIEWER),
        Route("POST", "/corpora", making.start, Role.TRAINER, body_limit=_RECIPE),
        Route("GET", "/corpora/new", making.show, Role.TRAINER),
        Route("POST", "/corpora/check", making.check, Role.TRAINER, body_limit=_RECIPE),
        Route("POST", "/corpora/look", making.look, Role.TRAINER, body_limit=_RECIPE),
        Route("POST", "/corpora/reach", making.set_reach, Role.ADMIN),
        Route("GET", _ONE, show, Role.VIEWER),
        Route("GET", f"{_ONE}/report", report, Role.VIEWER),
        Route("GET", f"{_ONE}/documents", documents.show, Role.VIEWER),
        Route("GET", f"{_ONE}/document", documents.show_one, Role.VIEWER),
        Route("GET", f"{_ONE}/removal", removing.show, Role.TRAINER),
        Route("POST", f"{_ONE}/removal", removing.start, Role.TRAINER),
        Route("GET", f"{_ONE}/files/{{file}}", download, Role.TRAINER),
    ),
)
