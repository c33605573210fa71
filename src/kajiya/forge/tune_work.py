"""A tuning job in its own process: train an adapter of any kind and register it, nothing else."""

from __future__ import annotations

import json
from typing import Any

from kajiya.forge.adapters import read_material, register_adapter, train_adapter
from kajiya.forge.options import TuneOptions
from kajiya.jobs.running import RunningJob


def run(job: RunningJob) -> dict[str, Any]:
    """Entry of the job kind `tune`; returns the new adapter's reference and how training went."""
    options = TuneOptions.checked(job.spec.options)
    material = read_material(job, options)
    adapter = job.folder / "adapter"
    if not adapter.exists():
        train_adapter(job, options, material, adapter)
    training = json.loads((adapter / "training.json").read_text(encoding="utf-8"))
    registered = register_adapter(job, options, material, adapter, training, {})
    return {"reference": registered.reference, "training": training}
