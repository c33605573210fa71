"""Stages that jobs which end with an adapter share: read the data, train, register.

Each stage leaves its result in the job's folder, so that a resumed job skips what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kajiya.core.files import atomic_folder, write_json
from kajiya.core.hardware import probe
from kajiya.core.language import tr
from kajiya.data.dataset import load_dataset
from kajiya.data.rows import Row
from kajiya.data.split import split_rows
from kajiya.forge.options import TuneOptions
from kajiya.jobs.running import JobStopped, RunningJob
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.training.estimate import Shape, remember_speed


@dataclass(frozen=True)
class Material:
    """What an adapter is made from: artifacts, and the rows that are in them."""

    base: Artifact
    dataset: Artifact
    held_out: Artifact | None
    rows: tuple[Row, ...]
    validation: tuple[Row, ...]


def read_material(job: RunningJob, options: TuneOptions) -> Material:
    """The artifacts that `options` name; without held-out data, some rows are held out."""
    store = ArtifactStore(job.workspace)
    base = store.get(options.base, "model")
    dataset = store.get(options.dataset, "dataset")
    rows = load_dataset(dataset.folder).rows
    if options.held_out:
        held_out = store.get(options.held_out, "dataset")
        return Material(base, dataset, held_out, rows, load_dataset(held_out.folder).rows)
    split = split_rows(rows, seed=options.tune.seed)
    return Material(base, dataset, None, split.train, split.held_out)


def train_adapter(
    job: RunningJob,
    options: TuneOptions,
    material: Material,
    target: Path,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Train, and leave the adapter and `training.json` in the folder `target`.

    `finish` adds to the folder before it appears. Raises `JobStopped` if the job is asked to stop.
    """
    from kajiya.training.tune import tune

    base = material.base
    with atomic_folder(target) as folder:
        outcome = tune(
            base.folder,
            base.reference,
            material.rows,
            material.validation,
            options.tune,
            job.checkpoints,
            folder,
            job,
            spread(material.validation or material.rows, options.samples),
        )
        if outcome.stopped:
            raise JobStopped
        if finish is not None:
            finish(folder)
        write_json(folder / "training.json", asdict(outcome))
    done = options.operations * outcome.steps / max(1, outcome.total_steps)
    hardware = probe(job.workspace.home)
    kind = Shape.read(base.folder).kind
    remember_speed(job.workspace.cache, hardware, options.tune, done, outcome.seconds, kind)


def spread(rows: tuple[Row, ...], most: int) -> tuple[Row, ...]:
    """At most `most` rows, evenly spread over the file, since files are often sorted by topic."""
    if len(rows) <= most:
        return rows
    return tuple(rows[i * len(rows) // most] for i in range(most))


def register_adapter(
    job: RunningJob,
    options: TuneOptions,
    material: Material,
    adapter: Path,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Artifact:
    """The adapter as an artifact with its parents, options and scores; once, however often resumed."""
    store = ArtifactStore(job.workspace)
    for artifact in store.list("adapter"):
        if artifact.manifest.details.get("job") == job.id:
            return artifact
    base, dataset = material.base, material.dataset
    parents = [base.as_parent("base"), dataset.as_parent("data")]
    if material.held_out:
        parents.append(material.held_out.as_parent("held-out"))
    with store.draft(
        "adapter",
        job.spec.name,
        parents=parents,
        config=options.tune.model_dump(),
        description=tr(
            f"{base.name} tuned on {dataset.name}", f"{dataset.name} で学習した {base.name}"
        ),
    ) as draft:
        for file in sorted(adapter.iterdir()):
            (draft.folder / file.name).write_bytes(file.read_bytes())
        draft.details = {
            "job": job.id,
            "train_loss": training["train_loss"],
            "held_out_loss": training["held_out_loss"],
            "seconds": round(training["seconds"], 1),
            "kept_step": training["kept_step"],
        }
        draft.metrics = dict(metrics)
    job.artifact("adapter", draft.artifact.reference)
    return draft.artifact
