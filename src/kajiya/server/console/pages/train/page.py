"""The Easy Trainer: the page, what it asks while somebody chooses, and the start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from kajiya.core.errors import KajiyaError, NotFoundError
from kajiya.core.hardware import Hardware, probe
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.data.uploads import Uploads
from kajiya.forge.cost import CostSettings
from kajiya.forge.inspection import Inspection, known
from kajiya.forge.offers import offers, own_memory, rooms
from kajiya.forge.plan import DEFAULT_BASE
from kajiya.forge.trainer import Choice, Outlook, look, outlook, parse_source, start_choice
from kajiya.jobs.supervisor import Supervisor
from kajiya.server.access.users import Role
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.forms import form_fields, read_form
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.data.uploading import limit_text
from kajiya.server.console.pages.data.values import found_values, suggested_name
from kajiya.server.console.pages.train.choosing import (
    METHODS,
    advanced_fields,
    again_address,
    read_choice,
)
from kajiya.server.console.visit import visit
from kajiya.store.artifacts import ArtifactStore

_inspecting = asyncio.Semaphore(2)  # each is a process that may need much memory


async def show(request: Request) -> Response:
    """The page, with everything chosen as the address says."""
    if again := request.query_params.get("again"):
        job = await asyncio.to_thread(Supervisor(the(request).workspace).get, again)
        if job.spec is None or "tune" not in job.spec.options:
            raise NotFoundError(
                tr("this job cannot be repeated here", "このジョブはここではやり直せません"),
                where=job.id,
            )
        return RedirectResponse(again_address(job), 303)
    return await _page(request, dict(request.query_params))


async def check(request: Request) -> Response:
    """Part of the page: what is found in the data, without waiting for a model."""
    choice, _ = read_choice(request.query_params)
    found, problem = await _look(request, choice, with_tokens=False)
    return _part(request, "train/findings.html", **found_values(choice, found), problem=problem)


async def plan(request: Request) -> Response:
    """Part of the page: which models fit, what the chosen one reads, and what it will cost."""
    workspace = the(request).workspace
    hardware = await asyncio.to_thread(probe, workspace.home)
    choice, _ = read_choice(request.query_params)
    choice = await asyncio.to_thread(_with_base, choice, workspace, hardware)
    found, problem = None, None
    if choice.data and choice.base:
        found, problem = await _look(request, choice, with_tokens=True)
    if problem is not None:
        choice = choice.model_copy(update={"data": ""})
    ahead = await asyncio.to_thread(outlook, choice, workspace, hardware)
    values = _plan(choice, ahead, found, hardware, workspace)
    return _part(request, "train/plan.html", **values, problem=problem)


async def start(request: Request) -> Response:
    """Begin, and go to where it can be watched."""
    sent = await form(request)
    workspace = the(request).workspace
    choice, errors = read_choice(sent)
    if errors:
        return await _page(request, sent, 400)
    hardware = await asyncio.to_thread(probe, workspace.home)
    try:
        async with _inspecting:
            job = await asyncio.to_thread(start_choice, choice, workspace, hardware)
    except KajiyaError as error:
        return await _page(request, sent, 400, error)
    await note(request, "job.started", job.id, name=choice.name, base=choice.base)
    return RedirectResponse(f"/jobs/{job.id}", 303)


async def set_prices(request: Request) -> Response:
    """The assumptions behind the costs."""
    sent = await form(request)
    settings, errors = read_form(CostSettings, sent)
    if settings is not None:
        await asyncio.to_thread(settings.keep, the(request).workspace)
        await note(request, "prices.changed")
    back = sent.get("back", "")
    if errors:
        return page(request, "train/prices.html", 400, prices=_prices(sent, errors), back=back)
    return RedirectResponse(
        back if re.fullmatch(r"/train(\?[\w%&=.+:-]*)?", back) else "/train", 303
    )


def _part(request: Request, template: str, **values: Any) -> Response:
    """A part of the page, for the script that puts it there."""
    html = the(request).renderer.render(template, visit(request), request.url.path, values)
    return JSONResponse({"html": html})


async def _page(
    request: Request, sent: Mapping[str, str], status: int = 200, error: KajiyaError | None = None
) -> Response:
    workspace = the(request).workspace
    values = await asyncio.to_thread(_page_values, workspace, sent)
    return page(request, "train/train.html", status, **values, error=error, problem=None)


def _page_values(workspace: Workspace, sent: Mapping[str, str]) -> dict[str, Any]:
    hardware = probe(workspace.home)
    choice, errors = read_choice(sent)
    choice = _with_base(choice, workspace, hardware)
    data, problem = _source(choice.data, workspace)
    held_out, _ = _source(choice.held_out, workspace)
    if data is None:
        choice = choice.model_copy(update={"data": ""})
    elif not choice.name:
        choice = choice.model_copy(update={"name": suggested_name(data["name"])})
    quick = _known(choice, workspace, "") if data else None
    full = _known(choice, workspace, choice.base) if data else None
    return {
        "data": data,
        "held_out": held_out,
        "gone": problem,
        "rooms": rooms(hardware),
        "datasets": _datasets(workspace),
        "methods": METHODS,
        "advanced": advanced_fields(sent, errors),
        "errors": errors,
        "limit": limit_text(),
        "prices": _prices(CostSettings.of(workspace).model_dump(), {}),
        **found_values(choice, quick or full),
        **_plan(choice, outlook(choice, workspace, hardware), full, hardware, workspace),
    }


def _plan(
    choice: Choice,
    ahead: Outlook,
    read: Inspection | None,
    hardware: Hardware,
    workspace: Workspace,
) -> dict[str, Any]:
    return {
        "choice": choice,
        "ahead": ahead,
        "read": read,
        "hardware": hardware,
        "price": CostSettings.of(workspace),
        "taken": _versions(choice.name, workspace),
    }


def _with_base(choice: Choice, workspace: Workspace, hardware: Hardware) -> Choice:
    """With a model that fits, if none was chosen."""
    if choice.base:
        return choice
    room = round(choice.memory * 1024**3) or own_memory(hardware)
    found = offers(workspace, choice.tune, hardware, min(room, own_memory(hardware)))
    fitting = [offer for offer in found if not offer.obstacle]
    preferred = [offer for offer in fitting if DEFAULT_BASE in (offer.reference, offer.source)]
    chosen = next(iter(preferred or fitting[-1:]), None)
    return choice.model_copy(update={"base": chosen.reference if chosen else ""})


async def _look(
    request: Request, choice: Choice, *, with_tokens: bool
) -> tuple[Inspection | None, KajiyaError | None]:
    try:
        async with _inspecting:
            workspace = the(request).workspace
            return await asyncio.to_thread(look, choice, workspace, with_tokens=with_tokens), None
    except KajiyaError as error:
        return None, error


def _known(choice: Choice, workspace: Workspace, base: str) -> Inspection | None:
    kind, reference = parse_source(choice.data)
    return known(workspace, kind, reference, choice.reading(base))


def _source(text: str, workspace: Workspace) -> tuple[dict[str, Any] | None, KajiyaError | None]:
    """What the data in the address is called; None, and why, if it is not there."""
    if not text:
        return None, None
    try:
        kind, reference = parse_source(text)
        if kind == "upload":
            upload = Uploads(workspace).get(reference)
            return {"reference": text, "name": upload.name, "size": upload.size}, None
        dataset = ArtifactStore(workspace).get(reference, "dataset")
        return {"reference": text, "name": dataset.reference, "size": 0}, None
    except KajiyaError as error:
        return None, error


def _datasets(workspace: Workspace) -> list[tuple[str, str]]:
    """The newest versions, newest first, for the list to choose from."""
    found = ArtifactStore(workspace).list("dataset")
    newest = {dataset.name: dataset for dataset in found}
    ordered = sorted(newest.values(), key=lambda d: d.manifest.created_at, reverse=True)
    return [(f"dataset:{dataset.reference}", dataset.reference) for dataset in ordered]


def _versions(name: str, workspace: Workspace) -> int:
    """How many models have this name already."""
    if not name:
        return 0
    return sum(adapter.name == name for adapter in ArtifactStore(workspace).list("adapter"))


def _prices(values: Mapping[str, Any], errors: Mapping[str, str]) -> Any:
    return form_fields(CostSettings, values, errors)


PAGE = Page(
    "train",
    icon="train",
    routes=(
        Route("GET", "/train", show, Role.VIEWER),
        Route("GET", "/train/check", check, Role.TRAINER),
        Route("GET", "/train/plan", plan, Role.TRAINER),
        Route("POST", "/train", start, Role.TRAINER),
        Route("POST", "/train/prices", set_prices, Role.TRAINER),
    ),
)
