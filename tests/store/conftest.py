from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kajiya.core.workspace import Workspace
from kajiya.store.artifacts import ArtifactStore
from kajiya.store.database import Database


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database at the newest version, since making one costs more than most tests."""
    path = tmp_path_factory.mktemp("database") / "kajiya.db"
    Database.open_file(path)
    return path


@pytest.fixture
def workspace(tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("KAJIYA_LANG", "en")
    workspace = Workspace(tmp_path / "home").create()
    shutil.copyfile(new_database, workspace.database)
    return workspace


@pytest.fixture
def store(workspace: Workspace) -> ArtifactStore:
    return ArtifactStore(workspace)
