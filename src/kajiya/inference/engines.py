"""Which engine is for which models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kajiya.inference.bundle import Model, RemoteModel, ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import Engine, EngineSettings
from kajiya.inference.remote import RemoteEngine
from kajiya.inference.vllm import VllmEngine


def engine_for(
    models: Sequence[Model],
    settings: EngineSettings | None = None,
    *,
    log: Path,
    max_pending: int | None = None,
) -> Engine:
    """The engine, not started, for one group of `group_by_base`."""
    here = [model for model in models if isinstance(model, ServableModel)]
    for model in models:
        if isinstance(model, RemoteModel):
            return RemoteEngine(model.name, model.remote, max_pending=max_pending)
    kind = VllmEngine if here[0].engine == "vllm" else WorkerEngine
    return kind(here, settings, log=log, max_pending=max_pending)
