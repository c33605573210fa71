from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kajiya.core.workspace import Workspace
from kajiya.models.formats.gguf_writer import write_model
from support.threads import one_thread
from support.tiny_models import make_folder

__all__ = ["one_thread"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home").create()


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny model's folder by its family, with `model.gguf` (32 bits) beside the weights."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            folder = make_folder(tmp_path_factory.mktemp(family) / "model", family)
            write_model(folder, folder / "model.gguf", "f32", family)
            made[family] = folder
        return made[family]

    return get
