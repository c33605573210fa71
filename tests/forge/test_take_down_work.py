"""A take-down as a job: a new version once, however often it is resumed; who has seen what."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.corpus.removal import find
from kajiya.forge.take_down_work import run
from kajiya.jobs.running import RunningJob
from kajiya.jobs.spec import JobSpec
from kajiya.store.artifacts import ArtifactStore
from support.recipes import follow, make_sources, register


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "home").create()
    store = ArtifactStore(workspace)
    corpus = register(store, follow(make_sources(tmp_path / "sources"), tmp_path / "run"), "mixed")
    with store.draft("model", "small", parents=[corpus.as_parent("corpus")]):
        pass
    return workspace


def job(workspace: Workspace, what: str, attempt: int = 1) -> RunningJob:
    folder = workspace.jobs / "20261122-1200-take-down-mixed"
    folder.mkdir(exist_ok=True)
    spec = JobSpec(kind="take-down", name="mixed", options={"corpus": "mixed:1", "what": what})
    return RunningJob(folder, spec, attempt, workspace)


def test_what_was_registered_before_a_kill_is_not_made_again(workspace: Workspace) -> None:
    first = run(job(workspace, "CC0-1.0"))
    again = run(job(workspace, "CC0-1.0", attempt=2))
    assert first == again
    assert first["reference"] == "mixed:2"
    assert first["documents"] == 30
    assert first["seen"] == ["corpus mixed:1", "model small:1"]
    store = ArtifactStore(workspace)
    assert [corpus.reference for corpus in store.list("corpus")] == ["mixed:1", "mixed:2"]
    assert not find(store.get("mixed:2", "corpus").folder, "CC0-1.0")


def test_nothing_is_made_where_nothing_is_meant(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError):
        run(job(workspace, "nothing-like-this"))
    assert len(ArtifactStore(workspace).list("corpus")) == 1
