"""Which engine is for which models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kajiya.inference.bundle import Model, RemoteModel, ServableModel
from kajiya.inference.client import Admission, WorkerEngine, unlimited
from kajiya.inference.protocol import Engine, EngineSettings
from kajiya.inference.remote import RemoteEngine
from kajiya.inference.vllm import VllmEngine


def engine_for(
    models: Sequence[Model],
    settings: EngineSettings | None = None,
    *,
    log: Path,
    max_pending: int | None = None,
    admit: Admission = unlimited,
) -> Engine:
    """The engine, not started, for one group of `group_by_base`; `admit` lets those on this machine load."""
    first = models[0]
    if isinstance(first, RemoteModel):
        return RemoteEngine(first.name, first.remote, max_pending=max_pending)
    kind = VllmEngine if first.engine == "vllm" else WorkerEngine
    here = [model for model in models if isinstance(model, ServableModel)]
    return kind(here, settings, log=log, max_pending=max_pending, admit=admit)
