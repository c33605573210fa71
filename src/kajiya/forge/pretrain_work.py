"""The stages of a pretraining job, run in the job's own process: tokenise, train, register.

Each stage leaves its result in the job's folder, so that a resumed job skips what is done.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kajiya.core.files import atomic_folder, write_json
from kajiya.core.hardware import probe
from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.corpus.build import Corpus, build_corpus
from kajiya.forge.pretrain_plan import PretrainOptions
from kajiya.jobs.running import JobStopped, RunningJob
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.store.manifest import Licence
from kajiya.tokenizer.chat import ChatTokenizer

AOZORA_LICENCE = Licence(
    name="public domain in Japan", source="Aozora Bunko (https://www.aozora.gr.jp)"
)


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `pretrain`; returns the trained model's reference and how it went."""
    options = PretrainOptions.checked(job.spec.options)
    model = ArtifactStore(job.workspace).get(options.model, "model")
    corpus = _corpus(job, options, model)
    trained = job.folder / "model"
    if not trained.exists():
        _train(job, options, model, corpus, trained)
    training = json.loads((job.folder / "training.json").read_text(encoding="utf-8"))
    registered = _register(job, options, model, corpus, trained, training)
    return {"reference": registered.reference, "training": training}


def _corpus(job: RunningJob, options: PretrainOptions, model: Artifact) -> Corpus:
    """The tokenised text: of the corpus that was named, or in the job's folder."""
    if options.corpus:
        built = ArtifactStore(job.workspace).get(options.corpus, layout.KIND)
        return Corpus.open(built.folder / layout.SHARDS)
    folder = job.folder / "corpus"
    if folder.exists():
        return Corpus.open(folder)

    def tell(done: int) -> None:
        job.progress("tokenise", done / 1e6, unit="MB")
        if job.should_stop():
            raise JobStopped

    corpus = build_corpus(
        options.documents(),
        ChatTokenizer.load(model.folder),
        folder,
        held_out_size=options.pretrain.held_out_bytes,
        seed=options.pretrain.seed,
        tell=tell,
    )
    job.log(
        tr(
            f"{corpus.documents} documents, {corpus.tokens:,} tokens;"
            f" {len(corpus.held_out)} documents are held out",
            f"文書 {corpus.documents} 件、{corpus.tokens:,} トークン。"
            f"うち {len(corpus.held_out)} 件を検証用に除外",
        )
    )
    if not corpus.held_out:
        job.log(
            tr(
                "a single document: nothing is held out, so only the training loss can be told",
                "文書が1件だけなので検証用に除外せず、学習損失だけを報告します",
            ),
            "warning",
        )
    return corpus


def _train(
    job: RunningJob, options: PretrainOptions, model: Artifact, corpus: Corpus, target: Path
) -> None:
    """Train, and leave the model in `target` and how it went in `training.json`."""
    from kajiya.training.pretrain import pretrain
    from kajiya.training.pretrain_estimate import remember_pretraining

    config = options.pretrain
    with atomic_folder(target) as folder:
        outcome = pretrain(
            model.folder, model.reference, corpus, config, job.checkpoints, folder, job
        )
        if outcome.stopped:
            raise JobStopped
        write_json(job.folder / "training.json", asdict(outcome))
    hardware = probe(job.workspace.home)
    remember_pretraining(job.workspace.cache, hardware, config, options.operations, outcome.seconds)


def _register(
    job: RunningJob,
    options: PretrainOptions,
    model: Artifact,
    corpus: Corpus,
    trained: Path,
    training: dict[str, Any],
) -> Artifact:
    """The model as an artifact with its text, options and figures; once, however often resumed."""
    store = ArtifactStore(job.workspace)
    for artifact in store.list("model"):
        if artifact.manifest.details.get("job") == job.id:
            return artifact
    parents = [model.as_parent("base")]
    if options.corpus:
        parents.append(store.get(options.corpus, layout.KIND).as_parent("corpus"))
    with store.draft(
        "model",
        job.spec.name,
        parents=parents,
        licence=[AOZORA_LICENCE] if options.aozora else [],
        config=options.pretrain.model_dump(),
        description=tr(
            f"{model.name} pretrained on {training['tokens']:,} tokens",
            f"{training['tokens']:,} トークンで事前学習した {model.name}",
        ),
    ) as draft:
        shutil.copytree(trained, draft.folder, dirs_exist_ok=True)
        draft.config |= {"model_type": model.manifest.config.get("model_type")}
        draft.details = {
            **model.manifest.details,
            "job": job.id,
            "corpus": {
                "sha256": corpus.sha256,
                "documents": corpus.documents,
                "tokens": corpus.tokens,
                "held_out": len(corpus.held_out),
            },
            "train_loss": training["train_loss"],
            "seconds": round(training["seconds"], 1),
        }
        draft.metrics = {"held-out": {"bits_per_byte": training["bits_per_byte"]}}
    job.artifact("model", draft.artifact.reference)
    return draft.artifact
