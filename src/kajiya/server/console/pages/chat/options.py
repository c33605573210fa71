"""What a conversation is set to: models and mixtures, sampling, instruction, character."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.language import tr
from kajiya.models.resolve import KINDS
from kajiya.server.access.users import Role
from kajiya.server.bodies import Body
from kajiya.server.chats.mixing import base_name, mixture, sliders
from kajiya.server.chats.settings import Character, ChatSettings, Sampling
from kajiya.server.console.context import note, the
from kajiya.server.console.forms import form_fields
from kajiya.server.console.pages.chat.reader import caller, conversation_of
from kajiya.server.console.visit import visit
from kajiya.server.errors import ApiError
from kajiya.server.parsing import parse
from kajiya.store.artifacts import ArtifactStore


class ChosenModel(Body):
    """A model and how much of each adapter."""

    name: str = Field(min_length=1, max_length=1000)
    weights: dict[str, float] = Field(default_factory=dict, max_length=64)


class Change(Body):
    """`POST /chat/…/settings`: everything, as the panel shows it."""

    models: list[ChosenModel] = Field(max_length=2)
    system: str
    character: dict[str, str]
    sampling: dict[str, float | int | None]


async def change(request: Request) -> Response:
    """What the next answers are to be made with; the answer tells how it was understood."""
    conversation = await conversation_of(request)
    body = parse(await request.body(), Change)
    names = []
    for chosen in body.models:
        await have_served(request, chosen.name)
        names.append(_named(request, chosen))
    settings = ChatSettings.checked(
        {
            "models": names,
            "system": body.system,
            "character": body.character,
            "sampling": {key: value for key, value in body.sampling.items() if value is not None},
        }
    )
    await asyncio.to_thread(the(request).chats.conversations.change, conversation, settings)
    return JSONResponse(_told(request, settings))


async def state(request: Request) -> Response:
    """Which models can be asked, and how those on their way are."""
    return JSONResponse(_state(request))


async def panel(request: Request, settings: ChatSettings) -> dict[str, Any]:
    """What the template of the settings wants."""
    return {
        "settings": settings,
        "choices": await model_choices(request),
        "sampling": form_fields(Sampling, settings.sampling),
        "character": form_fields(Character, settings.character),
        "state": {**_told(request, settings), **_state(request)},
    }


async def model_choices(request: Request) -> dict[str, list[str]]:
    """Names of models that are served, and of those that this reader could have served."""
    console = the(request)
    served = console.gateway.names(caller(request))
    user = visit(request).user
    if user is None or not user.role.covers(Role.TRAINER):
        return {"served": served, "others": []}
    store = ArtifactStore(console.workspace)
    found = await asyncio.to_thread(lambda: [a for kind in KINDS for a in store.list(kind)])
    newest = {(artifact.kind, artifact.name): artifact for artifact in found}
    models = console.gateway.models
    there = {served.model.reference for served in models.values()}
    others = dict.fromkeys(
        # Of a name that is served in an older version, the newest one is called by its number.
        artifact.reference if artifact.name in models else artifact.name
        for artifact in newest.values()
        if artifact.reference not in there
    )
    return {"served": served, "others": [name for name in others if name not in served]}


async def have_served(request: Request, name: str) -> None:
    """See to it that a model is served or on its way; only who may train can have that done."""
    console = the(request)
    base = base_name(name)
    coming = console.serving.coming.get(base)
    if not base or base in console.gateway.models or (coming and not coming.problem):
        return
    user = visit(request).user
    if user is None or not user.role.covers(Role.TRAINER):
        raise NotFoundError(
            tr("this model is not served", "このモデルは公開されていません"), where=base[:100]
        )
    console.serving.begin(base)
    await note(request, "model.served", base)


def _named(request: Request, chosen: ChosenModel) -> str:
    """The model's name with its weights, as far as it is known what can be mixed."""
    if base_name(chosen.name) not in the(request).gateway.models:
        return chosen.name
    try:
        return mixture(the(request).gateway, caller(request), chosen.name, chosen.weights)
    except ApiError as error:
        raise ConfigError(error.message, where=chosen.name[:100]) from None


def _told(request: Request, settings: ChatSettings) -> dict[str, Any]:
    """The models as the script shows them, each with its sliders."""
    return {
        "models": [
            {
                "name": name,
                "base": base_name(name),
                "sliders": [asdict(slider) for slider in _sliders(request, name)],
            }
            for name in settings.models
        ]
    }


def _sliders(request: Request, name: str) -> list[Any]:
    try:
        return sliders(the(request).gateway, caller(request), name)
    except ApiError:  # it is not served yet, or no more
        return []


def _state(request: Request) -> dict[str, Any]:
    serving = the(request).serving
    return {
        "served": the(request).gateway.names(caller(request)),
        "coming": {
            name: coming.problem.message if coming.problem else ""
            for name, coming in serving.coming.items()
        },
    }
