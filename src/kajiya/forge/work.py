"""The stages of a forge job, run in the job's own process: tune, convert, compare, register.

Each stage leaves its result in the job's folder, so that a resumed job skips what is done.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kajiya.core.events import Progress
from kajiya.core.files import atomic_folder, write_json
from kajiya.core.hardware import probe
from kajiya.core.language import tr
from kajiya.data.dataset import load_dataset
from kajiya.data.rows import Row
from kajiya.data.split import split_rows
from kajiya.evaluation.side_by_side import Comparison, Who, compare
from kajiya.forge.options import ForgeOptions
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.inference.servable import base_gguf
from kajiya.jobs.running import JobStopped, RunningJob
from kajiya.store.artifacts import Artifact, ArtifactStore

ADAPTER_GGUF = "adapter.gguf"
_PARALLEL = 8


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `forge`; returns the new model's reference and the comparisons."""
    options = ForgeOptions.checked(job.spec.options)
    store = ArtifactStore(job.workspace)
    base = store.get(options.base, "model")
    dataset = store.get(options.dataset, "dataset")
    held_out = store.get(options.held_out, "dataset") if options.held_out else None
    rows = load_dataset(dataset.folder).rows
    validation: tuple[Row, ...]
    if held_out:
        validation = load_dataset(held_out.folder).rows
    else:
        split = split_rows(rows, seed=options.tune.seed)
        rows, validation = split.train, split.held_out
    adapter = job.folder / "adapter"
    if not adapter.exists():
        _tune(job, options, base, rows, validation, adapter)
    training = json.loads((adapter / "training.json").read_text(encoding="utf-8"))
    comparisons = _compare(job, options, base, adapter / ADAPTER_GGUF, rows, validation)
    registered = _register(job, options, base, dataset, held_out, adapter, training, comparisons)
    return {
        "reference": registered.reference,
        "training": training,
        "comparisons": [comparison.model_dump() for comparison in comparisons],
    }


def _tune(
    job: RunningJob,
    options: ForgeOptions,
    base: Artifact,
    rows: tuple[Row, ...],
    validation: tuple[Row, ...],
    target: Path,
) -> None:
    """Train, and leave the adapter in both formats in `target`."""
    from transformers import AutoConfig

    from kajiya.models.formats.gguf_writer import write_adapter
    from kajiya.training.estimate import remember_speed
    from kajiya.training.tune import tune

    with atomic_folder(target) as folder:
        outcome = tune(
            base.folder,
            base.reference,
            rows,
            validation,
            options.tune,
            job.checkpoints,
            folder,
            job,
        )
        if outcome.stopped:
            raise JobStopped
        write_adapter(
            folder, AutoConfig.from_pretrained(base.folder), folder / ADAPTER_GGUF, job.spec.name
        )
        write_json(folder / "training.json", asdict(outcome))
    done = options.operations * outcome.steps / max(1, outcome.total_steps)
    hardware = probe(job.workspace.home)
    remember_speed(job.workspace.cache, hardware, options.tune, done, outcome.seconds)


def _compare(
    job: RunningJob,
    options: ForgeOptions,
    base: Artifact,
    adapter: Path,
    rows: tuple[Row, ...],
    validation: tuple[Row, ...],
) -> tuple[Comparison, ...]:
    """Base and tuned on what was trained and on what was held out; kept in `comparisons.json`."""
    kept = job.folder / "comparisons.json"
    if kept.exists():
        saved = json.loads(kept.read_text(encoding="utf-8"))
        return tuple(Comparison.model_validate(comparison) for comparison in saved)
    name = job.spec.name
    model = ServableModel(
        name=name,
        base_gguf=base_gguf(base, job.workspace),
        folder=base.folder,
        adapters={name: adapter},
        context_length=int(base.manifest.details.get("context_length") or 2048),
    )
    sets = [("held-out", validation), ("trained", rows)]

    async def ask_all() -> tuple[Comparison, ...]:
        settings = EngineSettings(slots=_PARALLEL, context_length=options.tune.max_tokens + 128)
        engine = WorkerEngine([model], settings, log=job.folder / "engine.txt")
        try:
            await engine.start()
            found = []
            for set_name, members in sets:
                chosen = _sample(members, options.evaluate_rows)
                if not chosen:
                    continue

                def tell(done: int, total: int, stage: str = f"ask-{set_name}") -> None:
                    job.events.append(Progress(stage=stage, done=done, total=total))

                found.append(await compare(engine, name, model.mixture(), set_name, chosen, tell))
            return tuple(found)
        finally:
            await engine.close()

    comparisons = asyncio.run(ask_all())
    write_json(kept, [comparison.model_dump() for comparison in comparisons])
    return comparisons


def _sample(rows: tuple[Row, ...], most: int) -> tuple[Row, ...]:
    """At most `most` rows, evenly spread over the file, since files are often sorted by topic."""
    if len(rows) <= most:
        return rows
    return tuple(rows[i * len(rows) // most] for i in range(most))


def _register(
    job: RunningJob,
    options: ForgeOptions,
    base: Artifact,
    dataset: Artifact,
    held_out: Artifact | None,
    adapter: Path,
    training: dict[str, Any],
    comparisons: tuple[Comparison, ...],
) -> Artifact:
    """The adapter as an artifact with its parents, options and scores; once, however often resumed."""
    store = ArtifactStore(job.workspace)
    for artifact in store.list("adapter"):
        if artifact.manifest.details.get("job") == job.id:
            return artifact
    parents = [base.as_parent("base"), dataset.as_parent("data")]
    if held_out:
        parents.append(held_out.as_parent("held-out"))
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
        draft.metrics = {who: _scores(comparisons, who) for who in ("base", "tuned")}
    job.artifact("adapter", draft.artifact.reference)
    return draft.artifact


def _scores(comparisons: tuple[Comparison, ...], who: Who) -> dict[str, float]:
    """`{"trained: key_facts": 0.91, …}` of one of the two models, for the card."""
    return {
        f"{comparison.name}: {measure}": round(value, 4)
        for comparison in comparisons
        for measure, value in getattr(comparison, who).model_dump().items()
        if value is not None
    }
