"""The corpus that an address names, and the numbers of its report."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

from starlette.requests import Request

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.server.console.context import the
from kajiya.store.artifacts import Artifact, ArtifactStore


def store_of(request: Request) -> ArtifactStore:
    """Of this console's workspace."""
    return ArtifactStore(the(request).workspace)


async def find(request: Request) -> Artifact:
    """The version in the address."""
    name, version = (request.path_params[part] for part in ("name", "version"))
    if not version.isdecimal():
        raise NotFoundError(
            tr("there is no such version", "その版はありません"), where=version[:40]
        )
    return await asyncio.to_thread(store_of(request).get, f"{name}:{version}", layout.KIND)


def address(artifact: Artifact) -> str:
    """Where the page of an artifact is: of a corpus here, of others among the models."""
    name, version = quote(artifact.name, safe=""), artifact.manifest.version
    if artifact.kind == layout.KIND:
        return f"/corpora/{name}/versions/{version}"
    return f"/models/{quote(artifact.kind, safe='')}/{name}/{version}"


def read_facts(corpus: Artifact) -> dict[str, Any]:
    """The numbers of its report."""
    path = corpus.folder / layout.FACTS
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FormatError(
            tr("its report cannot be read", "レポートを読めません"), where=corpus.reference
        ) from None
    return facts


def waterfall(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What each rule dropped, in the reader's words, and how many documents were left after it."""
    from kajiya.corpus.report.words import STAGES, reason

    left: int = facts["totals"]["read"]
    rows: list[dict[str, Any]] = []
    for row in facts["waterfall"]:
        left -= row["documents"]
        words = {"stage_words": tr(*STAGES[row["stage"]]), "words": tr(*reason(row["reason"]))}
        rows.append(row | words | {"left": left})
    return rows
