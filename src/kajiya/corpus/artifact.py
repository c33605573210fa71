"""Corpora as artifacts: registered with the licences of their sources, and found again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kajiya.corpus import layout
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.store.manifest import Licence, Parent


def register_corpus(
    store: ArtifactStore,
    product: Path,
    name: str,
    facts: Mapping[str, Any],
    *,
    parents: Sequence[Parent] = (),
    details: Mapping[str, Any] | None = None,
    description: str = "",
) -> Artifact:
    """Keep the folder of a corpus as the next version of `name`. `facts` are those of its report."""
    recipe = yaml.safe_load((product / layout.RECIPE).read_text(encoding="utf-8"))
    with store.draft(
        layout.KIND,
        name,
        parents=parents,
        licence=_licences(facts),
        config=recipe,
        description=description,
    ) as draft:
        for path in sorted(product.rglob("*")):
            if path.is_file():
                link(path, draft.folder / path.relative_to(product))
        totals, shards = facts["totals"], facts["shards"]
        draft.details = {
            **(details or {}),
            "documents": totals["kept"],
            "documents_read": totals["read"],
            "characters": totals["characters"],
            "tokens": totals["tokens"],
            "training_tokens": shards and shards["training_tokens"],
        }
    return draft.artifact


def descendants(
    store: ArtifactStore, artifact: Artifact, counts: Callable[[Artifact], bool]
) -> list[Artifact]:
    """Everything that was made from an artifact, directly or not, each once.

    What does not count is left out, with what was made from it alone.
    """
    found: dict[str, Artifact] = {}
    waiting = [artifact]
    while waiting:
        for child in store.children(waiting.pop()):
            if child.manifest_sha256 not in found and counts(child):
                found[child.manifest_sha256] = child
                waiting.append(child)
    return sorted(found.values(), key=lambda child: child.key)


def link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _licences(facts: Mapping[str, Any]) -> list[Licence]:
    """The terms of the kept documents, each with the sources that they hold for."""
    return [
        Licence(name=row["licence"] or "unknown", source=", ".join(row["sources"]))
        for row in facts["licences"]
    ]
