"""A new corpus: a recipe that is checked as it is written, a look at its sources, and the start of its job."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from kajiya.core.errors import KajiyaError
from kajiya.core.language import current
from kajiya.core.workspace import Workspace
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.visit import visit

if TYPE_CHECKING:
    from kajiya.corpus.recipe import Recipe
    from kajiya.forge.corpus_look import SourceLook
    from kajiya.jobs.job import Job

# What reads recipes is imported by those who have one: a second, and 90 MB that a server may never need.
_HERE = Path(__file__).parent
_LINE = re.compile(r"recipe\.yaml:(\d+)")
_looking = asyncio.Semaphore(2)


async def show(request: Request) -> Response:
    return await _page(request, {})


async def check(request: Request) -> Response:
    """Whether a recipe can be followed; if not, why and on which line."""
    sent = await form(request)
    try:
        recipe = await asyncio.to_thread(_read, sent, the(request).workspace)
    except KajiyaError as error:
        return _part(request, "corpora/checked.html", error=error, sources=0)
    return _part(request, "corpora/checked.html", error=None, sources=len(recipe.sources))


async def look(request: Request) -> Response:
    """The beginning of each source, and what the rules keep of it."""
    sent = await form(request)
    try:
        async with _looking:
            found = await asyncio.to_thread(_look, sent, the(request).workspace)
    except KajiyaError as error:
        return _part(request, "corpora/checked.html", error=error, sources=0)
    return _part(request, "corpora/look.html", found=found)


async def start(request: Request) -> Response:
    """Begin the job."""
    sent = await form(request)
    try:
        job = await asyncio.to_thread(_start, sent, the(request).workspace)
    except KajiyaError as error:
        return await _page(request, sent, 400, error)
    await note(request, "job.started", job.id, corpus=sent.get("name", ""))
    return RedirectResponse(f"/jobs/{job.id}", 303)


async def set_reach(request: Request) -> Response:
    """Name the folders and hosts that recipes may read."""
    sent = await form(request)
    wanted = {name: tuple(sent.get(name, "").split("\n")) for name in ("folders", "hosts")}
    try:
        kept = await asyncio.to_thread(_keep_reach, wanted, the(request).workspace)
    except KajiyaError as error:
        return await _page(request, sent, 400, error)
    await note(request, "corpus.reach", **kept)
    return RedirectResponse("/corpora/new", 303)


def _read(sent: Mapping[str, str], workspace: Workspace) -> Recipe:
    from kajiya.forge.corpus_reach import Reach

    return Reach.of(workspace).read(sent.get("recipe", ""), sent.get("base", ""), workspace)


def _look(sent: Mapping[str, str], workspace: Workspace) -> list[SourceLook]:
    from kajiya.forge.corpus_look import look_apart

    return look_apart(_read(sent, workspace), workspace)


def _start(sent: Mapping[str, str], workspace: Workspace) -> Job:
    from kajiya.forge.corpus_plan import plan_corpus, start_corpus

    plan = plan_corpus(_read(sent, workspace), sent.get("name", ""), workspace)
    return start_corpus(plan, workspace)


def _keep_reach(wanted: Mapping[str, tuple[str, ...]], workspace: Workspace) -> dict[str, Any]:
    from kajiya.forge.corpus_reach import Reach

    lines = {name: tuple(filter(None, map(str.strip, values))) for name, values in wanted.items()}
    reach = Reach.named(lines, workspace)
    reach.keep(workspace)
    return reach.model_dump(mode="json")


async def _page(
    request: Request,
    sent: Mapping[str, str],
    status: int = 200,
    error: KajiyaError | None = None,
) -> Response:
    values = await asyncio.to_thread(_values, sent, the(request).workspace)
    return page(request, "corpora/new.html", status, error=error, line=line_of(error), **values)


def _values(sent: Mapping[str, str], workspace: Workspace) -> dict[str, Any]:
    from kajiya.forge.corpus_reach import Reach

    reach = Reach.of(workspace)
    example = (_HERE / f"recipe.{current()}.yaml").read_text(encoding="utf-8")
    return {
        "recipe": sent.get("recipe", example),
        "example": example,
        "fresh": "recipe" not in sent,
        "name": sent.get("name", ""),
        "base": sent.get("base", ""),
        "bases": reach.folders,
        "folders": sent.get("folders", "\n".join(reach.folders)),
        "hosts": sent.get("hosts", "\n".join(reach.hosts)),
    }


def line_of(error: KajiyaError | None) -> int:
    """The recipe's line that an error is about; 0 if it is about none."""
    found = _LINE.match(error.where) if error else None
    return int(found[1]) if found else 0


def _part(request: Request, template: str, **values: Any) -> Response:
    """A part of the page, for the script that puts it there."""
    line = line_of(values.get("error"))
    html = the(request).renderer.render(
        template, visit(request), request.url.path, values | {"line": line}
    )
    return JSONResponse({"html": html})
