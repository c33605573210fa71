"""A corpus's job, in its own process: all stages of the recipe, then registration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from kajiya.core.files import atomic_folder
from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.corpus.artifact import register_corpus
from kajiya.corpus.run.build import build
from kajiya.corpus.run.executors import Executor, local
from kajiya.corpus.run.stage import Run
from kajiya.corpus.run.watch import Stopped
from kajiya.forge.corpus_plan import CorpusOptions
from kajiya.jobs.running import JobStopped, RunningJob
from kajiya.models.converting import TOKENIZER_FILES
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.store.manifest import Parent


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `corpus`; returns the corpus's reference and the totals of its report."""
    options = CorpusOptions.checked(job.spec.options)
    folder = job.folder / "run"
    try:
        if options.tokenizer and not (folder / layout.TOKENIZER).exists():
            _copy_tokenizer(Path(options.tokenizer), folder / layout.TOKENIZER)
        product = build(Run(folder, options.recipe, _executor(options), job), job.spec.name)
    except Stopped:
        raise JobStopped from None
    facts = json.loads((product / layout.FACTS).read_text(encoding="utf-8"))
    artifact = _register(job, options, product, facts)
    shutil.rmtree(folder)  # what the artifact holds stays: it is the same files
    return {
        "reference": artifact.reference,
        "report": str(artifact.folder / layout.PAGE),
        "totals": facts["totals"],
        "shards": facts["shards"],
    }


def _executor(options: CorpusOptions) -> Executor:
    if options.ray is None:
        return local(options.workers)
    from kajiya.corpus.run.ray_executor import RayCluster

    return RayCluster(options.ray)


def _copy_tokenizer(source: Path, target: Path) -> None:
    with atomic_folder(target) as scratch:
        for path in sorted(source.iterdir()):
            if path.name in TOKENIZER_FILES or path.name == "tokenizer.model":
                shutil.copyfile(path, scratch / path.name)


def _register(
    job: RunningJob, options: CorpusOptions, product: Path, facts: dict[str, Any]
) -> Artifact:
    """The corpus as an artifact; once, however often the job was resumed."""
    store = ArtifactStore(job.workspace)
    for artifact in store.list(layout.KIND):
        if artifact.manifest.details.get("job") == job.id:
            return artifact
    artifact = register_corpus(
        store,
        product,
        job.spec.name,
        facts,
        parents=_parents(store, options),
        details={"job": job.id},
        description=tr(
            f"{facts['totals']['kept']:,} documents of {facts['totals']['read']:,} read",
            f"読み込んだ {facts['totals']['read']:,} 件のうち {facts['totals']['kept']:,} 件",
        ),
    )
    job.artifact(layout.KIND, artifact.reference)
    return artifact


def _parents(store: ArtifactStore, options: CorpusOptions) -> list[Parent]:
    """The artifact that the tokenizer is from, if it is from one."""
    return [
        artifact.as_parent("tokenizer")
        for artifact in store.list()
        if options.tokenizer and artifact.folder.absolute() == Path(options.tokenizer)
    ]
