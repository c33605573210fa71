"""A take-down's job, in its own process: a corpus of any size is written again without some documents."""

from __future__ import annotations

from typing import Any

from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.corpus.removal import find
from kajiya.corpus.taking_down import holders, nothing_meant, take_down
from kajiya.forge.take_down_plan import TakeDownOptions
from kajiya.jobs.running import RunningJob
from kajiya.store.artifacts import Artifact, ArtifactStore


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `take-down`; returns the new version and everything that has seen the documents."""
    options = TakeDownOptions.checked(job.spec.options)
    store = ArtifactStore(job.workspace)
    corpus = store.get(options.corpus, layout.KIND)
    found = find(corpus.folder, options.what)
    if not found:
        raise nothing_meant(corpus, options.what)
    job.log(
        tr(
            f"{corpus.reference}: {found.documents:,} documents, and {found.dropped:,} among the dropped",
            f"{corpus.reference}: 文書 {found.documents:,} 件、除外済みの文書 {found.dropped:,} 件",
        )
    )
    made = _registered(store, job.id)
    if made is None:
        job.progress("take-down", 0)
        made = take_down(store, corpus, options.what, {"job": job.id})
        job.progress("take-down", 1, 1)
        job.artifact(layout.KIND, made.reference)
    return {
        "reference": made.reference,
        "documents": found.documents,
        "dropped": found.dropped,
        "seen": [
            f"{each.kind} {each.reference}" for each in holders(store, corpus.name, options.what)
        ],
    }


def _registered(store: ArtifactStore, job: str) -> Artifact | None:
    """What an earlier attempt of the job registered."""
    for artifact in store.list(layout.KIND):
        if artifact.manifest.details.get("job") == job:
            return artifact
    return None
