"""The stages of a forge job, run in the job's own process: tune, convert, compare, register.

Each stage leaves its result in the job's folder, so that a resumed job skips what is done.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from kajiya.core.events import Progress
from kajiya.core.files import write_json
from kajiya.evaluation.side_by_side import Comparison, Who, compare
from kajiya.forge.adapters import (
    Material,
    read_material,
    register_adapter,
    spread,
    train_adapter,
)
from kajiya.forge.options import ForgeOptions
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.inference.servable import ADAPTER_FILE, engine_of, servable
from kajiya.jobs.running import RunningJob

_PARALLEL = 8


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `forge`; returns the new model's reference and the comparisons."""
    options = ForgeOptions.checked(job.spec.options)
    material = read_material(job, options)
    adapter = job.folder / "adapter"
    if not adapter.exists():
        train_adapter(job, options, material, adapter, lambda f: _for_engine(job, material, f))
    training = json.loads((adapter / "training.json").read_text(encoding="utf-8"))
    comparisons = _compare(job, options, material, adapter)
    metrics = {who: _scores(comparisons, who) for who in ("base", "tuned")}
    registered = register_adapter(job, options, material, adapter, training, metrics)
    return {
        "reference": registered.reference,
        "training": training,
        "comparisons": [comparison.model_dump() for comparison in comparisons],
    }


def _for_engine(job: RunningJob, material: Material, folder: Path) -> None:
    """Put the adapter beside itself in the format that llama.cpp loads, if that is to run it."""
    if engine_of(material.base) != "llamacpp":
        return
    from transformers import AutoConfig

    from kajiya.models.architectures import register
    from kajiya.models.formats.gguf_writer import write_adapter

    register()
    config = AutoConfig.from_pretrained(material.base.folder)
    write_adapter(folder, config, folder / ADAPTER_FILE, job.spec.name)


def _compare(
    job: RunningJob, options: ForgeOptions, material: Material, adapter: Path
) -> tuple[Comparison, ...]:
    """Base and tuned on what was trained and on what was held out; kept in `comparisons.json`."""
    kept = job.folder / "comparisons.json"
    if kept.exists():
        saved = json.loads(kept.read_text(encoding="utf-8"))
        return tuple(Comparison.model_validate(comparison) for comparison in saved)
    name, base = job.spec.name, material.base
    model = servable(name, base, {name: adapter}, job.workspace)
    sets = [("held-out", material.validation), ("trained", material.rows)]

    async def ask_all() -> tuple[Comparison, ...]:
        settings = EngineSettings(slots=_PARALLEL, context_length=options.tune.max_tokens + 128)
        engine = WorkerEngine([model], settings, log=job.folder / "engine.txt")
        try:
            await engine.start()
            found = []
            for set_name, members in sets:
                chosen = spread(members, options.evaluate_rows)
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


def _scores(comparisons: tuple[Comparison, ...], who: Who) -> dict[str, float]:
    """`{"trained: key_facts": 0.91, …}` of one of the two models, for the card."""
    return {
        f"{comparison.name}: {measure}": round(value, 4)
        for comparison in comparisons
        for measure, value in getattr(comparison, who).model_dump().items()
        if value is not None
    }
