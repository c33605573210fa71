"""A random RWKV-7 whose every parameter has a say, and the engine around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from kajiya.inference.protocol import EngineSettings
from kajiya.inference.rwkv.engine import RwkvEngine
from support.rwkv_folders import make_rwkv

MakeEngine = Callable[..., RwkvEngine]


@pytest.fixture(scope="session")
def rwkv_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rwkv(tmp_path_factory.mktemp("rwkv"))


@pytest.fixture(scope="session")
def rwkv_model(rwkv_folder: Path) -> Any:
    """The same weights in 32 bits, to compare with."""
    model = AutoModelForCausalLM.from_pretrained(rwkv_folder, dtype=torch.float32)
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def make_engine(rwkv_folder: Path) -> Iterator[MakeEngine]:
    """Engines on the random model, 32 slots and exact by default; all are closed in the end."""
    made = []

    def make(
        adapters: dict[str, Path] | None = None, folder: Path = rwkv_folder, **options: Any
    ) -> RwkvEngine:
        settings = EngineSettings(**{"slots": 32, "threads": 2, "weights": "fp32", **options})
        made.append(RwkvEngine(folder, adapters or {}, settings))
        return made[-1]

    threads = torch.get_num_threads()
    yield make
    for engine in made:
        engine.close()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exact(make_engine: MakeEngine) -> RwkvEngine:
    return make_engine()
