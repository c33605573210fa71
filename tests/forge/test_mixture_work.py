"""The search for a mixture: runs that are kept, a stop and a resume, and what is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.corpus.mixture_search_config import MixtureSearchConfig
from kajiya.forge import mixture_work
from kajiya.forge.mixture_plan import MixtureSearchOptions, start_mixture_search
from kajiya.jobs.running import JobStopped, RunningJob
from kajiya.jobs.spec import JobSpec
from kajiya.store.artifacts import ArtifactStore
from support.recipes import follow, make_sources, register

SMALL = MixtureSearchConfig(runs=5, tokens=4000, size="1x64", context=64)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "home").create()
    product = follow(make_sources(tmp_path / "sources"), tmp_path / "run")
    register(ArtifactStore(workspace), product, "mixed")
    return workspace


def job(workspace: Workspace, attempt: int = 1) -> RunningJob:
    folder = workspace.jobs / "20261123-0200-mixture-mixed"
    folder.mkdir(exist_ok=True)
    options = MixtureSearchOptions(corpus="mixed:1", search=SMALL).model_dump(mode="json")
    spec = JobSpec(kind="mixture", name="mixed", options=options)
    return RunningJob(folder, spec, attempt, workspace)


def test_a_search_that_was_stopped_goes_on_to_the_same_end(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = job(workspace)
    runs = stopping.folder / "runs"
    # Asked after each step of each run: stop in the middle of the third.
    with monkeypatch.context() as patched, pytest.raises(JobStopped):
        patched.setattr(RunningJob, "should_stop", lambda _: len(list(runs.glob("*.json"))) == 2)
        mixture_work.run(stopping)
    assert len(list(runs.glob("*.json"))) == 2
    kept = {path.name: path.read_bytes() for path in runs.glob("*.json")}
    result = mixture_work.run(job(workspace, attempt=2))
    assert {name: (runs / name).read_bytes() for name in kept} == kept
    # Everything is known now: nothing is trained.
    assert mixture_work.run(job(workspace, attempt=3)) == result
    losses = [json.loads(path.read_text())["bits_per_byte"] for path in runs.glob("*.json")]
    assert len(losses) == result["runs"] == 5 + 1 + 3
    assert len(set(losses)) > 4  # mixtures differ
    assert result["sources"] == ["web", "books"]
    assert sum(result["best"]) == pytest.approx(1, abs=1e-3)
    assert result["bits_per_byte"]["best"] == min(losses) <= result["bits_per_byte"]["natural"]
    assert not (runs.parent / "trained").exists()

    whole = RunningJob(
        workspace.jobs / "20261123-0201-mixture-whole",
        stopping.spec,
        1,
        workspace,
    )
    whole.folder.mkdir()
    assert mixture_work.run(whole) == result


def test_what_cannot_be_searched_is_refused_before_a_job_is_made(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="too few") as refused:
        start_mixture_search("mixed", SMALL.model_copy(update={"runs": 3}), workspace)
    assert refused.value.where == "runs"
    with pytest.raises(NotFoundError):
        start_mixture_search("nothing", SMALL, workspace)
    assert not list(workspace.jobs.glob("*"))
