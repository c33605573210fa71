from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kajiya.models.formats.rwkv.pth import write_pth
from support.rwkv_folders import make_rwkv

Tensors = dict[str, Any]


@pytest.fixture(scope="session")
def rwkv_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny RWKV model's folder by its generation, with `official.pth` beside the weights."""
    made: dict[str, Path] = {}

    def get(kind: str = "rwkv7") -> Path:
        if kind not in made:
            folder = make_rwkv(tmp_path_factory.mktemp(kind) / "model", kind)
            write_pth(folder, folder / "official.pth")
            made[kind] = folder
        return made[kind]

    return get


@pytest.fixture
def damaged(rwkv_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """An official `.pth` (tokenizer beside it) after a change to its dictionary of tensors."""

    def make(change: Callable[[Tensors], Any], kind: str = "rwkv7") -> Path:
        source = rwkv_folder(kind)
        tensors: Tensors = torch.load(source / "official.pth", weights_only=True)
        changed = change(tensors)
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(source / name, folder / name)
        torch.save(tensors if changed is None else changed, folder / "model.pth")
        return folder / "model.pth"

    return make
