from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kajiya.core.workspace import Workspace
from kajiya.store.artifacts import ArtifactStore


@pytest.fixture
def workspace(tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("KAJIYA_LANG", "en")
    workspace = Workspace(tmp_path / "home").create()
    shutil.copyfile(new_database, workspace.database)
    return workspace


@pytest.fixture
def store(workspace: Workspace) -> ArtifactStore:
    return ArtifactStore(workspace)
