"""Settings › storage: what takes space, and what goes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.hardware import probe
from kajiya.inference.bundle import ServableModel
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.forms import form_fields, read_form
from kajiya.server.housekeeping import RetentionSettings, apply_retention, clean_cache, space

_ADDRESS = "/settings/storage"


async def show(request: Request) -> Response:
    settings = await asyncio.to_thread(RetentionSettings.of, the(request).workspace)
    return await _show(request, settings.model_dump(), {})


async def clean(request: Request) -> Response:
    console = the(request)
    models = [served.model for served in console.gateway.models.values()]
    in_use = [model.weights for model in models if isinstance(model, ServableModel)]
    freed = await asyncio.to_thread(clean_cache, console.workspace, in_use)
    await note(request, "cache.cleaned", bytes=freed)
    return RedirectResponse(_ADDRESS, 303)


async def set_retention(request: Request) -> Response:
    """Keep the choice, and act on it at once."""
    console, sent = the(request), await form(request)
    settings, errors = read_form(RetentionSettings, sent)
    if settings is None:
        return await _show(request, sent, errors)
    await asyncio.to_thread(settings.keep, console.workspace)
    await note(request, "retention.changed", "", **settings.model_dump())
    database = console.gateway.gate.database
    gone = await asyncio.to_thread(apply_retention, console.workspace, database, settings)
    if any(gone.values()):
        await note(request, "retention.applied", "", **gone)
    return RedirectResponse(_ADDRESS, 303)


async def _show(request: Request, values: Mapping[str, object], errors: dict[str, str]) -> Response:
    workspace = the(request).workspace
    spaces = await asyncio.to_thread(space, workspace)
    hardware = await asyncio.to_thread(probe, workspace.home)
    return page(
        request,
        "settings/storage.html",
        400 if errors else 200,
        spaces=spaces,
        total=sum(one.size for one in spaces),
        free=hardware.disk_free,
        home=str(workspace.home),
        retention=form_fields(RetentionSettings, values, errors),
    )
