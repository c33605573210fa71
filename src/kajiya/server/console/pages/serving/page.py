"""What is served: engines and models, put up and taken down, and how to reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.inference.client import RestartingEngine
from kajiya.inference.protocol import Engine
from kajiya.inference.remotes import PREFIX as REMOTE
from kajiya.inference.remotes import load_remotes
from kajiya.models.resolve import KINDS
from kajiya.server import snippets
from kajiya.server.access.users import Role
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.serving import keys, usage
from kajiya.server.console.visit import visit
from kajiya.store.artifacts import ArtifactStore
from kajiya.store.card import human_size

_KEY = "kj-…"  # stands for a key in examples


async def show(request: Request) -> Response:
    """Everything that is served, and what could be."""
    console = the(request)
    names = list(console.gateway.models)
    url = str(request.base_url).rstrip("/")
    model = names[0] if names else "MODEL"
    return page(
        request,
        "serving/show.html",
        engines=[
            _engine(number, each, request) for number, each in console.gateway.engines.items()
        ],
        coming=list(console.serving.coming.values()),
        held=human_size(sum(_memory(each) for each in console.gateway.engines.values())),
        budget=human_size(console.serving.budget),
        failing=any(each.state == "failing" for each in console.gateway.engines.values()),
        others=await _others(request),
        url=f"{url}/v1",
        snippets=[
            ("curl", snippets.curl(url, _KEY, model)),
            ("Python", snippets.python(url, _KEY, model)),
            ("JavaScript", snippets.javascript(url, _KEY, model)),
        ],
    )


async def add(request: Request) -> Response:
    """Serve a model, prepared in the background."""
    reference = (await form(request)).get("reference", "").strip()
    if not reference or len(reference) > 200 or "/" in reference:  # a path is for the terminal
        raise ConfigError(
            tr("this names no model of the registry", "登録されたモデルの名前ではありません"),
            where=reference[:100],
        )
    the(request).serving.begin(reference)
    await note(request, "model.served", reference)
    return RedirectResponse("/serving", 303)


async def remove(request: Request) -> Response:
    """Take a model down."""
    return await _change(request, the(request).serving.remove, "model.taken-down")


async def load(request: Request) -> Response:
    """Have it in memory before anybody asks."""
    return await _change(request, the(request).serving.load, "model.loaded")


async def unload(request: Request) -> Response:
    """Give its memory back."""
    return await _change(request, the(request).serving.unload, "model.unloaded")


async def forget(request: Request) -> Response:
    """Tell no more of a model that could not be served."""
    the(request).serving.forget((await form(request)).get("name", ""))
    return RedirectResponse("/serving", 303)


async def _change(request: Request, do: Callable[[str], Awaitable[None]], action: str) -> Response:
    name = (await form(request)).get("name", "")
    await do(name)
    await note(request, action, name)
    return RedirectResponse("/serving", 303)


def _engine(number: int, engine: Engine, request: Request) -> dict[str, Any]:
    models = the(request).gateway.models
    ours = engine if isinstance(engine, RestartingEngine) else None
    loaded = engine.capabilities if engine.available else None
    return {
        "number": number,
        "kind": ours.models[0].engine if ours else "remote",
        "state": engine.state,
        "pending": engine.pending,
        "memory": human_size(ours.memory) if ours and ours.memory else "",
        "needs": human_size(ours.needs) if ours else "",
        "restarts": ours.restarts if ours else 0,
        "slots": loaded.slots if loaded else None,
        "context": loaded.context_length if loaded else None,
        "models": [
            {"name": name, "reference": served.model.reference, "adapters": served.mixture}
            for name, served in models.items()
            if served.engine is engine
        ],
    }


def _memory(engine: Engine) -> int:
    return engine.memory if isinstance(engine, RestartingEngine) else 0


async def _others(request: Request) -> list[str]:
    """Names of registered models that could be served too, for those who may do so."""
    user = visit(request).user
    if user is None or not user.role.covers(Role.TRAINER):
        return []
    store = ArtifactStore(the(request).workspace)
    found = await asyncio.to_thread(lambda: [a for kind in KINDS for a in store.list(kind)])
    names = dict.fromkeys(name for a in reversed(found) for name in (a.name, a.reference))
    remotes = await asyncio.to_thread(load_remotes, the(request).workspace)
    names |= dict.fromkeys(f"{REMOTE}{name}" for name in remotes if name not in names)
    taken = {*the(request).gateway.models, *the(request).serving.coming}
    return [name for name in names if name.removeprefix(REMOTE) not in taken]


PAGE = Page(
    "serving",
    icon="serve",
    routes=(
        Route("GET", "/serving", show, Role.VIEWER),
        Route("POST", "/serving/models", add, Role.TRAINER),
        Route("POST", "/serving/models/remove", remove, Role.TRAINER),
        Route("POST", "/serving/models/load", load, Role.TRAINER),
        Route("POST", "/serving/models/unload", unload, Role.TRAINER),
        Route("POST", "/serving/models/forget", forget, Role.TRAINER),
        Route("GET", "/serving/usage", usage.show, Role.TRAINER),
        Route("GET", "/serving/keys", keys.show_list, Role.ADMIN),
        Route("POST", "/serving/keys", keys.create, Role.ADMIN),
        Route("GET", "/serving/keys/{key}", keys.show, Role.ADMIN),
        Route("POST", "/serving/keys/{key}", keys.change, Role.ADMIN),
        Route("POST", "/serving/keys/{key}/rotate", keys.rotate, Role.ADMIN),
        Route("POST", "/serving/keys/{key}/revoke", keys.revoke, Role.ADMIN),
    ),
)
