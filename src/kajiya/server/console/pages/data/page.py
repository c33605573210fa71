"""Datasets: what is there, what is in it, taking files in, giving them out, deleting."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from kajiya.core.errors import KajiyaError, NotFoundError
from kajiya.core.language import tr
from kajiya.data.dataset import KIND, count_rows, read_report, read_rows
from kajiya.data.findings import Finding
from kajiya.data.source import DEFAULT_LIMIT
from kajiya.data.uploads import Uploads
from kajiya.forge.inspection import Inspection, Reading, inspect
from kajiya.forge.trainer import Choice, registered
from kajiya.models.starters import PREFIX, STARTERS, is_installed
from kajiya.server.access.users import Role
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.formatting import moment_text
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.data.exporting import export_csv, export_jsonl
from kajiya.server.console.pages.data.uploading import limit_text, receive
from kajiya.server.console.pages.data.values import found_values, suggested_name
from kajiya.server.console.pages.train.choosing import read_choice
from kajiya.store.artifacts import Artifact, ArtifactStore

_ROWS = 20  # on a page
_EXPORTS = {
    "csv": (export_csv, "text/csv; charset=utf-8"),
    "jsonl": (export_jsonl, "application/jsonl"),
}
_inspecting = asyncio.Semaphore(2)


def _store(request: Request) -> ArtifactStore:
    return ArtifactStore(the(request).workspace)


async def show_list(request: Request) -> Response:
    rows = await asyncio.to_thread(_list_values, _store(request))
    return page(request, "data/list.html", rows=rows, limit=limit_text())


def _list_values(store: ArtifactStore) -> list[dict[str, Any]]:
    found = store.list(KIND)
    newest = {dataset.name: dataset for dataset in found}
    rows = [_row(d) | {"versions": sum(o.name == d.name for o in found)} for d in newest.values()]
    return sorted(rows, key=lambda row: str(row["made"]), reverse=True)


def _row(dataset: Artifact) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "name": dataset.name,
        "version": manifest.version,
        "reference": dataset.reference,
        "rows": manifest.details.get("rows", 0),
        "source": manifest.config.get("source", ""),
        "made": moment_text(manifest.created_at),
    }


async def show_upload(request: Request) -> Response:
    return await _upload_page(request, read_choice(request.query_params)[0])


async def _upload_page(
    request: Request, choice: Choice, status: int = 200, error: KajiyaError | None = None
) -> Response:
    workspace = the(request).workspace
    upload = Uploads(workspace).get(request.path_params["upload"])
    reading = choice.reading("")
    async with _inspecting:
        found = await asyncio.to_thread(inspect, workspace, "upload", upload.id, reading)
    return page(
        request,
        "data/upload.html",
        status,
        upload=upload,
        suggested=choice.name or suggested_name(upload.name),
        error=error,
        **found_values(choice, found),
    )


async def register(request: Request) -> Response:
    """Keep an upload as the next version of a name."""
    sent, workspace = await form(request), the(request).workspace
    choice = read_choice({**sent, "base": "", "data": ""})[0]
    upload = Uploads(workspace).get(request.path_params["upload"])
    try:
        reference = await asyncio.to_thread(
            registered, choice, workspace, f"upload:{upload.id}", choice.name
        )
    except KajiyaError as error:
        return await _upload_page(request, choice, 400, error)
    await note(request, "data.registered", reference)
    return RedirectResponse(_address(reference), 303)


async def show_dataset(request: Request) -> Response:
    return await _dataset_page(request)


async def _dataset_page(
    request: Request, status: int = 200, error: KajiyaError | None = None
) -> Response:
    dataset = await asyncio.to_thread(_find, request)
    base, text = (request.query_params.get(name, "") for name in ("base", "page"))
    number = int(text) if text.isdecimal() and len(text) < 9 else 1
    read: Inspection | None = None
    if base:
        try:
            async with _inspecting:
                read = await asyncio.to_thread(
                    inspect,
                    the(request).workspace,
                    "dataset",
                    dataset.reference,
                    Reading(base=base),
                )
        except KajiyaError as problem:
            error, status = problem, 400
    values = await asyncio.to_thread(_dataset_values, _store(request), dataset, number)
    return page(
        request,
        "data/dataset.html",
        status,
        **values,
        bases=await asyncio.to_thread(_bases, _store(request)),
        chosen=base,
        read=read,
        error=error,
    )


def _find(request: Request) -> Artifact:
    name, version = (request.path_params[part] for part in ("name", "version"))
    return _store(request).get(f"{name}:{version}", KIND)


def _dataset_values(store: ArtifactStore, dataset: Artifact, number: int) -> dict[str, Any]:
    count = dataset.manifest.details.get("rows") or count_rows(dataset.folder)
    pages = max(1, -(-count // _ROWS))
    number = max(1, min(number, pages))
    return {
        "dataset": {
            "name": dataset.name,
            "version": dataset.manifest.version,
            "reference": dataset.reference,
        },
        "here": _address(dataset.reference),
        "made": moment_text(dataset.manifest.created_at),
        "rows_count": count,
        "rows": list(read_rows(dataset.folder, (number - 1) * _ROWS, _ROWS)),
        "number": number,
        "pages": pages,
        "versions": [_row(other) for other in store.list(KIND) if other.name == dataset.name][::-1],
        "used": [child.reference for child in store.children(dataset)],
        **found_values(Choice(), _report(dataset)),
    }


def _report(dataset: Artifact) -> Inspection:
    """What was found when it was registered, as the file's own page showed it."""
    kept = read_report(dataset.folder)
    return Inspection(
        name=dataset.reference,
        findings=tuple(Finding(**finding) for finding in kept.get("findings", [])),
        statistics=kept.get("statistics", {}),
    )


def _bases(store: ArtifactStore) -> list[str]:
    installed = [f"{PREFIX}{s.name}" for s in STARTERS.values() if is_installed(s)]
    return [*dict.fromkeys(base.name for base in store.list("model")), *installed]


async def export(request: Request) -> Response:
    """All rows as a file."""
    kind = request.path_params["form"]
    dataset = await asyncio.to_thread(_find, request)
    if kind not in _EXPORTS:
        raise NotFoundError(
            tr("there is no such form", "この形式には書き出せません"),
            where=kind[:40],
            fix=", ".join(_EXPORTS),
        )
    write, media_type = _EXPORTS[kind]
    name = f"{dataset.name}-{dataset.manifest.version}.{kind}"
    await note(request, "data.exported", dataset.reference, form=kind)
    return StreamingResponse(
        write(dataset.folder),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def delete(request: Request) -> Response:
    dataset = await asyncio.to_thread(_find, request)
    try:
        await asyncio.to_thread(_store(request).remove, dataset.reference, KIND)
    except KajiyaError as error:
        return await _dataset_page(request, 409, error)
    await note(request, "data.deleted", dataset.reference)
    return RedirectResponse("/data", 303)


def _address(reference: str) -> str:
    name, _, version = reference.partition(":")
    return f"/data/{name}/versions/{version}"


PAGE = Page(
    "data",
    icon="data",
    routes=(
        Route("GET", "/data", show_list, Role.VIEWER),
        Route(
            "POST",
            "/data/uploads",
            receive,
            Role.TRAINER,
            body_limit=2 * DEFAULT_LIMIT,  # so that its own words tell the limit
            streaming=True,
        ),
        Route("GET", "/data/uploads/{upload}", show_upload, Role.TRAINER),
        Route("POST", "/data/uploads/{upload}", register, Role.TRAINER),
        Route("GET", "/data/{name}/versions/{version}", show_dataset, Role.VIEWER),
        Route("GET", "/data/{name}/versions/{version}/export/{form}", export, Role.VIEWER),
        Route("POST", "/data/{name}/versions/{version}/delete", delete, Role.TRAINER),
    ),
)
