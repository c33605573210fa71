"""The guided first run. How far somebody is, is read off what there is, so no step is ever out of date."""

from __future__ import annotations

import asyncio
import csv
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.errors import NotFoundError
from kajiya.data.uploads import Uploads
from kajiya.jobs.supervisor import Supervisor
from kajiya.server.access.users import Role, User
from kajiya.server.chats.conversations import Conversations
from kajiya.server.console.context import Console, note, page, the
from kajiya.server.console.page import Page, Route
from kajiya.server.console.visit import visit
from kajiya.store.artifacts import ArtifactStore

_EXAMPLE = Path(__file__).parent / "company-faq.csv"
with _EXAMPLE.open(encoding="utf-8", newline="") as _file:
    _ROWS = sum(1 for _ in csv.DictReader(_file))
_KIND = "forge"


@dataclass(frozen=True)
class _Progress:
    """What of the tour there is. `data` is the uploaded example, `job` the newest training."""

    data: str
    job: str
    running: bool
    model: str
    chatted: bool
    key: bool

    @property
    def step(self) -> int:
        """The step to do next, from 1; 5 when all are done."""
        done = (bool(self.data or self.job or self.model), bool(self.model), self.chatted, self.key)
        return next((number for number, made in enumerate(done, 1) if not made), len(done) + 1)


async def show(request: Request) -> Response:
    console, user = the(request), _reader(request)
    progress = await asyncio.to_thread(_look, console, user)
    return page(
        request,
        "welcome/welcome.html",
        progress=progress,
        train=f"/train?{urlencode({'data': progress.data})}" if progress.data else "/train",
        rows=_ROWS,
    )


async def use_example(request: Request) -> Response:
    """Take the example in as if it had been dropped, and go on to the trainer."""
    console, user = the(request), _reader(request)
    upload = await asyncio.to_thread(_upload, console)
    reference = f"upload:{upload}"
    await _remember(console, user, data=reference)
    await note(request, "data.uploaded", _EXAMPLE.name)
    return RedirectResponse(f"/train?{urlencode({'data': reference})}", 303)


async def finish(request: Request) -> Response:
    """Do not begin with the tour any more."""
    await _remember(the(request), _reader(request), done=True)
    return RedirectResponse("/", 303)


def _look(console: Console, user: User) -> _Progress:
    workspace = console.workspace
    jobs = [job for job in Supervisor(workspace).list() if job.spec and job.spec.kind == _KIND]
    adapters = ArtifactStore(workspace).list("adapter")
    newest = max(adapters, key=lambda adapter: adapter.manifest.created_at, default=None)
    return _Progress(
        data=_still_there(console, user.welcome.get("data", "")),
        job=jobs[-1].id if jobs else "",
        running=bool(jobs) and not jobs[-1].ended,
        model=newest.name if newest else "",
        chatted=bool(Conversations(console.gateway.gate.database).list(user.id, limit=1)),
        key=bool(console.gateway.gate.keyring.list()),
    )


def _still_there(console: Console, reference: str) -> str:
    try:
        Uploads(console.workspace).get(reference.removeprefix("upload:"))
    except NotFoundError:
        return ""
    return reference


def _upload(console: Console) -> str:
    with Uploads(console.workspace).receive(_EXAMPLE.name) as incoming:
        incoming.write(_EXAMPLE.read_bytes())
    return incoming.id


async def _remember(console: Console, user: User, **more: object) -> None:
    welcome = {**user.welcome, **more}
    await asyncio.to_thread(lambda: console.people.remember(user.id, welcome=welcome))


def _reader(request: Request) -> User:
    user = visit(request).user
    assert user is not None  # the routes are for those who are signed in
    return user


PAGE = Page(
    "welcome",
    routes=(
        Route("GET", "/welcome", show, Role.VIEWER),
        Route("POST", "/welcome/example", use_example, Role.TRAINER),
        Route("POST", "/welcome/finish", finish, Role.VIEWER),
    ),
)
