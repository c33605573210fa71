"""Models and everything else that is registered: list, card, lineage, deleting."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.errors import ConflictError
from kajiya.core.language import tr
from kajiya.models.resolve import KINDS
from kajiya.server.access.users import Role
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.formatting import day_text
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.models import exports
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.store.card import human_size, render_card
from kajiya.store.lineage_svg import lineage_svg
from kajiya.store.words import kind_words

_SHOWN = 500


async def show_list(request: Request) -> Response:
    """What is registered; `?q=` looks in names and descriptions, `?kind=` shows others than models."""
    kind = request.query_params.get("kind", "")
    words = request.query_params.get("q", "")[:200]
    store = ArtifactStore(the(request).workspace)
    found = await asyncio.to_thread(store.list)
    kinds = sorted({artifact.kind for artifact in found} - set(KINDS))
    wanted = [
        artifact
        for artifact in found
        if (artifact.kind == kind if kind else artifact.kind in KINDS) and _has(artifact, words)
    ]
    wanted.sort(key=lambda artifact: artifact.manifest.created_at, reverse=True)
    return page(
        request,
        "models/list.html",
        rows=[_row(request, artifact) for artifact in wanted[:_SHOWN]],
        more=max(0, len(wanted) - _SHOWN),
        words=words,
        kind=kind,
        kinds=[(each, kind_words(each)) for each in kinds],
        damaged=await asyncio.to_thread(store.damaged),
    )


async def show(request: Request) -> Response:
    """One artifact: its card, what it was made from, what was made from it."""
    store = ArtifactStore(the(request).workspace)
    artifact = await exports.find(request)
    lineage = await asyncio.to_thread(store.lineage, artifact)
    children = await asyncio.to_thread(store.children, artifact)
    picture = lineage_svg(
        lineage,
        lambda node: address(node.kind, node.reference) if node.state == "present" else None,
    )
    return page(
        request,
        "models/show.html",
        artifact=artifact,
        row=_row(request, artifact),
        card=render_card(artifact.manifest, lineage),
        picture=Markup(picture),  # noqa: S704 (made of elements whose words are escaped)
        children=[_row(request, child) for child in children],
        exports=await exports.of(request, artifact),
        forms=exports.forms(artifact),
    )


async def remove(request: Request) -> Response:
    """Delete one version; with `force` also if others were made from it."""
    artifact = await exports.find(request)
    sent = await form(request)
    names = _served_as(request, artifact)
    if names:
        raise ConflictError(
            tr(f"it is served as {', '.join(names)}", f"{', '.join(names)} として公開中です"),
            where=artifact.reference,
            fix=tr("take it down first", "先に公開をやめてください"),
        )
    store = ArtifactStore(the(request).workspace)
    force = sent.get("force") == "true"
    await asyncio.to_thread(store.remove, artifact.reference, artifact.kind, force=force)
    await note(request, "model.deleted", f"{artifact.kind} {artifact.reference}", force=force)
    return RedirectResponse("/models", 303)


def address(kind: str, reference: str) -> str:
    """Where the page of an artifact is."""
    name, _, version = reference.rpartition(":")
    return f"/models/{quote(kind, safe='')}/{quote(name, safe='')}/{quote(version, safe='')}"


def _row(request: Request, artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "reference": artifact.reference,
        "name": artifact.name,
        "kind": artifact.kind,
        "kind_words": kind_words(artifact.kind),
        "address": address(artifact.kind, artifact.reference),
        "description": manifest.description,
        "created": day_text(manifest.created_at),
        "size": human_size(manifest.size),
        "bases": [parent.reference for parent in manifest.parents if parent.role == "base"],
        "served": _served_as(request, artifact),
    }


def _served_as(request: Request, artifact: Artifact) -> list[str]:
    """The names under which it answers, itself or as what others stand on."""
    if artifact.kind not in KINDS:
        return []
    return [
        name
        for name, served in the(request).gateway.models.items()
        if served.model.reference == artifact.reference
        or artifact.reference in served.model.adapters
        or getattr(served.model, "folder", None) == artifact.folder
    ]


def _has(artifact: Artifact, words: str) -> bool:
    text = f"{artifact.reference} {artifact.manifest.description}".casefold()
    return all(word in text for word in words.casefold().split())


_ONE = "/models/{kind}/{name}/{version}"
PAGE = Page(
    "models",
    icon="models",
    routes=(
        Route("GET", "/models", show_list, Role.VIEWER),
        Route("GET", "/models/exports/{job}/events", exports.events, Role.TRAINER),
        Route("GET", "/models/exports/{job}/download", exports.download, Role.TRAINER),
        Route("POST", "/models/exports/{job}/delete", exports.remove, Role.TRAINER),
        Route("GET", _ONE, show, Role.VIEWER),
        Route("POST", f"{_ONE}/export", exports.begin, Role.TRAINER),
        Route("POST", f"{_ONE}/delete", remove, Role.TRAINER),
    ),
)
