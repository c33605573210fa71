"""Take-down in the store: a new version of a corpus, and everything that has seen the documents."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kajiya.core.errors import NotFoundError
from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.corpus.artifact import descendants, register_corpus
from kajiya.corpus.removal import find, remove
from kajiya.store.artifacts import Artifact, ArtifactStore, Parent


def holders(store: ArtifactStore, name: str, request: str) -> list[Artifact]:
    """The versions of the corpus that hold what `request` means, and all that was made from them.

    A tokenizer, model or index counts as having seen a document if its lineage leads to a version that
    holds it; later versions of the corpus count only if they hold it themselves.
    """

    def holds(artifact: Artifact) -> bool:
        return artifact.kind != layout.KIND or bool(find(artifact.folder, request))

    found: dict[str, Artifact] = {}
    for corpus in store.list(layout.KIND):
        if corpus.name == name and holds(corpus):
            for each in (corpus, *descendants(store, corpus, holds)):
                found[each.manifest_sha256] = each
    return sorted(found.values(), key=lambda each: (each.kind != layout.KIND, *each.key))


def nothing_meant(corpus: Artifact, request: str) -> NotFoundError:
    """The error of a request that no document fits."""
    return NotFoundError(
        tr(f"no document is meant by {request}", f"{request} に当てはまる文書はありません"),
        where=corpus.reference,
        fix=tr(
            "give an id, a URL or a licence as in the report",
            "id・URL・ライセンスのいずれかを、登録されたとおりに指定してください",
        ),
    )


def take_down(
    store: ArtifactStore,
    corpus: Artifact,
    request: str,
    details: Mapping[str, Any] | None = None,
) -> Artifact:
    """Register the next version of `corpus`, without what `request` means. `details` go to its manifest."""
    meant = find(corpus.folder, request)
    store.workspace.create()
    with tempfile.TemporaryDirectory(dir=store.workspace.cache, prefix="take-down-") as folder:
        product = Path(folder)
        facts = remove(corpus.folder, request, product, corpus.name)
        earlier = corpus.manifest.details.get("removed", [])
        return register_corpus(
            store,
            product,
            corpus.name,
            facts,
            parents=[corpus.as_parent("corpus"), *_tokenizers(corpus)],
            details={
                **(details or {}),
                "removed": [*earlier, {"what": request, "documents": meant.documents}],
            },
            description=tr(
                f"{corpus.reference} without {meant.documents + meant.dropped:,} documents",
                f"{corpus.reference} から {meant.documents + meant.dropped:,} 件を除いたもの",
            ),
        )


def _tokenizers(corpus: Artifact) -> list[Parent]:
    return [parent for parent in corpus.manifest.parents if parent.role == "tokenizer"]
