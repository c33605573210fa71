"""Settings › people: who may sign in, and in which role."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.errors import ConfigError, ConflictError, KajiyaError
from kajiya.core.language import tr
from kajiya.server.access.users import Role
from kajiya.server.console.context import Console, form, note, page, the

_ADDRESS = "/settings/people"


async def show(request: Request) -> Response:
    return await _show(request)


async def add(request: Request) -> Response:
    sent, console = await form(request), the(request)
    name = sent.get("name", "").strip()
    try:
        role = _role(sent)
        async with console.hashing:
            await asyncio.to_thread(console.people.create, name, sent.get("password", ""), role)
    except (ConfigError, ConflictError) as problem:
        return await _show(request, problem, name=name, role=sent.get("role", ""))
    await note(request, "user.added", name, role=role.value)
    return _back()


async def set_role(request: Request) -> Response:
    role = _role(await form(request))
    user = await asyncio.to_thread(the(request).people.set_role, _user(request), role)
    await note(request, "user.role", user.name, role=role.value)
    return _back()


async def set_password(request: Request) -> Response:
    sent, console = await form(request), the(request)
    async with console.hashing:
        user = await asyncio.to_thread(
            console.people.set_password, _user(request), sent.get("password", "")
        )
    await note(request, "password.set", user.name)
    return _back()


async def close(request: Request) -> Response:
    user = await asyncio.to_thread(the(request).people.close, _user(request))
    await note(request, "user.closed", user.name)
    return _back()


async def reopen(request: Request) -> Response:
    user = await asyncio.to_thread(the(request).people.reopen, _user(request))
    await note(request, "user.reopened", user.name)
    return _back()


async def _show(
    request: Request, error: KajiyaError | None = None, name: str = "", role: str = ""
) -> Response:
    console: Console = the(request)
    users = await asyncio.to_thread(console.people.list)
    status = 400 if error else 200
    return page(
        request, "settings/people.html", status, users=users, error=error, name=name, role=role
    )


def _user(request: Request) -> str:
    return str(request.path_params["user"])


def _role(sent: dict[str, str]) -> Role:
    try:
        return Role(sent.get("role", ""))
    except ValueError:
        raise ConfigError(
            tr("there is no such role", "その権限はありません"), where="role"
        ) from None


def _back() -> Response:
    return RedirectResponse(_ADDRESS, 303)
