"""Each kind of engine on models that say the same, for tests of what they all promise."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, get_args

import pytest

from kajiya.core.errors import ResourceError
from kajiya.inference.bundle import RemoteModel, ServableModel
from kajiya.inference.engines import engine_for
from kajiya.inference.protocol import Engine, EngineSettings
from kajiya.inference.remotes import Remote
from kajiya.inference.vllm_command import find_vllm
from support.reciting_llama import make_reciting_llama, make_reciting_lora
from support.reciting_rwkv import make_reciting_rwkv, make_reciting_state
from support.tiny_llama import make_adapter, make_model
from support.tiny_server import running

Kind = Literal["llamacpp", "rwkv", "remote", "vllm"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def make_models(kind: Kind, folder: Path) -> tuple[ServableModel, ServableModel]:
    """The reciting base, "tiny", and the same with an adapter that says " legal" for ever, "tuned"."""
    if kind == "rwkv":
        base = make_reciting_rwkv(folder)
        adapter = make_reciting_state(base, folder / "legal")
    elif kind == "vllm":
        try:
            find_vllm()
        except ResourceError as error:
            pytest.skip(error.message)
        base = make_reciting_llama(folder)
        adapter = make_reciting_lora(base, folder / "legal")
    else:
        base = make_model(folder)
        adapter = make_adapter(base, folder / "legal.gguf")
    return base, dataclasses.replace(base, name="tuned", adapters={"legal": adapter})


@asynccontextmanager
async def opened(
    kind: Kind,
    models: Sequence[ServableModel],
    settings: EngineSettings,
    folder: Path,
    max_pending: int | None = None,
) -> AsyncIterator[Engine]:
    """An engine for `models`; the remote one is a client of a gateway of ours that serves "tiny"."""
    if kind == "remote":
        with running(models[0].folder, folder, engine=settings.model_dump()) as server:
            remote = Remote(
                url=f"{server.url}/v1",
                model="tiny",
                key_file=folder / "key",
                context_length=settings.context_length,
                constraints=("json_schema", "choice", "grammar"),
            )
            elsewhere = [RemoteModel("tiny", remote)]
            engine = engine_for(elsewhere, log=folder / "log", max_pending=max_pending)
            await engine.start()
            yield engine
            await engine.close()
        return
    if kind == "vllm":  # it would take nearly all of the memory, and compile for minutes
        config = folder / "vllm.yaml"
        config.write_text("enforce-eager: true\ngpu-memory-utilization: 0.1\n")
        settings = settings.model_copy(update={"vllm_config": config})
    engine = engine_for(models, settings, log=folder / "log", max_pending=max_pending)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()
