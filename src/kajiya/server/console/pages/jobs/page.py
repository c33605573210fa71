"""The list of jobs, and what can be done with one."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from kajiya.core.errors import KajiyaError, NotFoundError
from kajiya.core.language import tr
from kajiya.jobs.job import Job
from kajiya.jobs.kinds import KINDS
from kajiya.jobs.listing import find_jobs
from kajiya.jobs.log_range import read_after, read_before
from kajiya.jobs.status import State
from kajiya.jobs.supervisor import Supervisor
from kajiya.server.access.users import Role
from kajiya.server.console.context import Console, note, page, the
from kajiya.server.console.events import follow_job
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.jobs.view import chart_of, job_values, row_of
from kajiya.store.artifacts import ArtifactStore

_cancelling: set[asyncio.Task[Job]] = set()  # a task that nobody holds may vanish


def supervisor(request: Request) -> Supervisor:
    """Of this console's workspace."""
    return Supervisor(the(request).workspace)


async def find(request: Request) -> Job:
    """The job in the address, by its whole id."""
    job_id = request.path_params["job"]
    job = await asyncio.to_thread(supervisor(request).get, job_id)
    if job.id != job_id:
        raise NotFoundError(
            tr(f"there is no job {job_id}", f"ジョブ {job_id} はありません"), where=job_id
        )
    return job


async def show_list(request: Request) -> Response:
    asked = {name: request.query_params.get(name, "") for name in ("state", "kind", "text")}
    number = request.query_params.get("page", "1")
    jobs = await asyncio.to_thread(supervisor(request).list)
    wanted = int(number) if number.isdecimal() and len(number) < 9 else 1
    found = find_jobs(jobs, **asked, page=wanted)

    def address(number: int) -> str:
        kept = {name: value for name, value in asked.items() if value}
        return f"/jobs?{urlencode(kept | {'page': number})}"

    return page(
        request,
        "jobs/list.html",
        asked=asked,
        found=found,
        rows=[row_of(job) for job in found.jobs],
        states=[(state.value, state.label) for state in State],
        kinds=list(KINDS),
        address=address,
    )


async def show_job(request: Request) -> Response:
    job = await find(request)
    values = await asyncio.to_thread(job_values, job, the(request).workspace)
    made = str((values["result"] or {}).get("reference") or "")
    called = await asyncio.to_thread(_called, the(request), made) if made else ""
    return page(request, "jobs/job.html", called=called, **values)


def _called(console: Console, reference: str) -> str:
    """What to ask for to have this very version: its bare name, unless that is another one's."""
    name = reference.partition(":")[0]
    if served := console.gateway.models.get(name):
        return name if served.model.reference == reference else reference
    try:
        newest = ArtifactStore(console.workspace).get(name, "adapter").reference
    except KajiyaError:  # deleted since
        return reference
    return name if newest == reference else reference


async def follow(request: Request) -> Response:
    return follow_job(request, (await find(request)).folder)


async def chart(request: Request) -> Response:
    """The metrics, thinned to what a screen can show; `first` and `last` pick a range of steps."""
    job = await find(request)
    limits = [_number(request.query_params.get(name, "")) for name in ("first", "last")]
    return JSONResponse(await asyncio.to_thread(chart_of, job, *limits))


async def log(request: Request) -> Response:
    """A stretch of the printed log: the last, the one before byte `before`, or after byte `after`."""
    path = (await find(request)).log_file
    before = _number(request.query_params.get("before", ""))
    after = _number(request.query_params.get("after", ""))
    if after is not None:
        found = await asyncio.to_thread(read_after, path, int(after))
    else:
        end = None if before is None else int(before)
        found = await asyncio.to_thread(read_before, path, end)
    return JSONResponse(found.__dict__)


async def download_log(request: Request) -> Response:
    job = await find(request)
    if not job.log_file.is_file():
        raise NotFoundError(tr("the log is empty", "ログは空です"), where=job.id)
    return FileResponse(job.log_file, media_type="text/plain", filename=f"{job.id}.txt")


async def cancel(request: Request) -> Response:
    """Ask it to save and end; whoever looks at it sees when it has."""
    job = await find(request)
    await note(request, "job.cancelled", job.id)
    task = asyncio.create_task(asyncio.to_thread(supervisor(request).cancel, job.id))
    _cancelling.add(task)
    task.add_done_callback(_ended)
    # Until the request to stop is on disk, the page would show a job that goes on.
    await asyncio.wait({task}, timeout=0.3)
    if task.done():
        task.result()
    return _to(job)


def _ended(task: asyncio.Task[Job]) -> None:
    _cancelling.discard(task)
    if not task.cancelled():
        task.exception()  # the page that asked is gone; the job's own page shows how it is


async def finish(request: Request) -> Response:
    job = await find(request)
    await asyncio.to_thread(supervisor(request).finish, job.id)
    await note(request, "job.finished-early", job.id)
    return _to(job)


async def resume(request: Request) -> Response:
    job = await find(request)
    await asyncio.to_thread(supervisor(request).resume, job.id)
    await note(request, "job.resumed", job.id)
    return _to(job)


async def delete(request: Request) -> Response:
    job = await find(request)
    await asyncio.to_thread(supervisor(request).remove, job.id)
    await note(request, "job.deleted", job.id)
    return RedirectResponse("/jobs", 303)


def _to(job: Job) -> RedirectResponse:
    return RedirectResponse(f"/jobs/{job.id}", 303)


def _number(text: str) -> float | None:
    return float(text) if text.isdecimal() and len(text) < 16 else None


PAGE = Page(
    "jobs",
    icon="jobs",
    routes=(
        Route("GET", "/jobs", show_list, Role.VIEWER),
        Route("GET", "/jobs/{job}", show_job, Role.VIEWER),
        Route("GET", "/jobs/{job}/events", follow, Role.VIEWER),
        Route("GET", "/jobs/{job}/chart", chart, Role.VIEWER),
        Route("GET", "/jobs/{job}/log", log, Role.VIEWER),
        Route("GET", "/jobs/{job}/log.txt", download_log, Role.VIEWER),
        Route("POST", "/jobs/{job}/cancel", cancel, Role.TRAINER),
        Route("POST", "/jobs/{job}/finish", finish, Role.TRAINER),
        Route("POST", "/jobs/{job}/resume", resume, Role.TRAINER),
        Route("POST", "/jobs/{job}/delete", delete, Role.TRAINER),
    ),
)
