"""Taking a model away: an export is a job, and its file is downloaded when it is done."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.language import tr
from kajiya.forge.export_work import FOLDER, ExportOptions
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
from kajiya.models.resolve import LORA_FILE, STATE_FILE
from kajiya.server.console.context import form, note, the
from kajiya.server.console.events import follow_job
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.store.card import human_size

KIND = "export"
_MERGED = "+merge"  # after a format's name: the adapter and its base as one


def forms(artifact: Artifact) -> list[str]:
    """The formats that this artifact can be taken away in."""
    if artifact.kind == "model":
        rwkv = str(artifact.manifest.config.get("model_type", "")).startswith("rwkv")
        return ["gguf", "ollama", "safetensors", *(["pth"] if rwkv else [])]
    if artifact.kind != "adapter":
        return []
    if (artifact.folder / STATE_FILE).is_file():
        return ["adapter", "pth"]
    merged = [f"{name}{_MERGED}" for name in ("gguf", "ollama", "safetensors")]
    lora = (artifact.folder / LORA_FILE).is_file()
    return ["ollama", *(merged if lora else []), "gguf", "adapter"]


async def begin(request: Request) -> Response:
    """Start an export."""
    artifact = await find(request)
    sent = await form(request)
    wanted = sent.get("form", "")
    if wanted not in forms(artifact):
        raise ConfigError(
            tr("it cannot be exported like this", "この形式では書き出せません"), where="form"
        )
    precision = sent.get("precision") or None
    options = ExportOptions.checked(
        {
            "reference": artifact.reference,
            "form": wanted.removesuffix(_MERGED),
            "merge": wanted.endswith(_MERGED),
            "precision": precision if _has_precision(wanted, artifact) else None,
        }
    )
    spec = JobSpec(kind=KIND, name=artifact.name, options=options.model_dump())
    job = await asyncio.to_thread(Supervisor(the(request).workspace).start, spec)
    await note(request, "model.exported", artifact.reference, form=wanted, job=job.id)
    return RedirectResponse(f"{request.url.path.removesuffix('/export')}#exports", 303)


async def of(request: Request, artifact: Artifact) -> list[dict[str, Any]]:
    """The exports of this artifact that are there or on their way, the newest first."""
    if not forms(artifact):
        return []
    jobs = await asyncio.to_thread(Supervisor(the(request).workspace).list)
    return [
        _told(job)
        for job in reversed(jobs)
        if job.spec is not None
        and job.spec.kind == KIND
        and job.spec.options.get("reference") == artifact.reference
    ]


async def events(request: Request) -> Response:
    """How an export goes on."""
    return follow_job(request, (await _job(request)).folder)


async def download(request: Request) -> Response:
    """The file that an export made."""
    job = await _job(request)
    name = str((job.result or {}).get("file", ""))
    path = job.folder / FOLDER / name
    if not name or path.parent != job.folder / FOLDER or not path.is_file():
        raise NotFoundError(tr("there is no such file", "そのファイルはありません"), where=job.id)
    await note(request, "model.downloaded", job.id)
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=name,
        headers={"Cache-Control": "no-store"},
    )


async def remove(request: Request) -> Response:
    """Delete an export, which is stopped first if it runs."""
    job = await _job(request)
    supervisor = Supervisor(the(request).workspace)
    if not job.ended:
        await asyncio.to_thread(supervisor.cancel, job.id)
    await asyncio.to_thread(supervisor.remove, job.id)
    back = (await form(request)).get("back", "")
    return RedirectResponse(back if back.startswith("/models/") else "/models", 303)


async def find(request: Request) -> Artifact:
    """The artifact that the address names."""
    names = request.path_params
    reference = f"{names['name']}:{names['version']}"
    if not names["version"].isdecimal():
        raise NotFoundError(tr("there is no such version", "その版はありません"), where=reference)
    store = ArtifactStore(the(request).workspace)
    return await asyncio.to_thread(store.get, reference, names["kind"])


async def _job(request: Request) -> Job:
    """The export that the address names; other jobs have their own page."""
    id = request.path_params["job"]
    job = await asyncio.to_thread(Supervisor(the(request).workspace).get, id)
    if job.spec is None or job.spec.kind != KIND or job.id != id:
        raise NotFoundError(tr("there is no such export", "その書き出しはありません"), where=id)
    return job


def _told(job: Job) -> dict[str, Any]:
    options = job.spec.options if job.spec else {}
    merged = _MERGED if options.get("merge") else ""
    result = job.result or {}
    return {
        "id": job.id,
        "form": f"{options.get('form')}{merged}",
        "precision": options.get("precision") or "",
        "label": job.state.label,
        "ended": job.ended,
        "file": result.get("file", ""),
        "size": human_size(result["size"]) if result else "",
        "problem": job.error.message if job.error else "",
    }


def _has_precision(wanted: str, artifact: Artifact) -> bool:
    return wanted.startswith("ollama") or (
        wanted.startswith("gguf") and (artifact.kind == "model" or wanted.endswith(_MERGED))
    )
