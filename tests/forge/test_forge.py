"""From a table to a model that answers, whatever is killed on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kajiya.core.errors import ConfigError
from kajiya.core.events import Metric
from kajiya.core.workspace import Workspace
from kajiya.forge.plan import find_held_out, make_plan, start
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.inference.servable import resolve_servable
from kajiya.jobs.job import Job
from kajiya.jobs.status import State
from kajiya.jobs.supervisor import Supervisor
from kajiya.store.artifacts import Artifact, ArtifactStore
from support.asking import said

OPTIONS = {"epochs": 2, "batch_tokens": 64, "rank": 4, "checkpoint_every": 3, "dropout": 0.1}
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter.gguf")
# What a person's terminal does, and dies of: it leaves the job to itself.
PARENT = f"""
import os, signal, sys
from pathlib import Path
from kajiya.core.workspace import Workspace
from kajiya.forge.plan import make_plan, start

workspace = Workspace(Path(sys.argv[1]))
plan = make_plan(
    Path(sys.argv[2]), "faq", workspace, base="tiny-base", evaluate_rows=2, overrides={OPTIONS}
)
heavy = sorted({{"torch", "transformers", "peft", "accelerate"}} & sys.modules.keys())
print(",".join(heavy), plan.estimate.trainable, len(plan.data.rows), flush=True)
print(start(plan, workspace).id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def orphan(workspace: Workspace, supervisor: Supervisor, table: Path) -> Job:
    """A job whose parent was killed at once, at its end; the uninterrupted run of these tests."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT, str(workspace.home), str(table)],
        capture_output=True,
        text=True,
        env={**os.environ, "KAJIYA_LANG": "en"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    told, job_id = done.stdout.splitlines()
    heavy, trainable, rows = told.split(" ")
    assert heavy == "", "planning must not import torch"
    assert (int(trainable) > 0, rows) == (True, "12")
    job = supervisor.wait(job_id, 300)
    assert job.state is State.SUCCEEDED, job.log_file.read_text()
    return job


def adapter_of(job: Job, workspace: Workspace) -> Artifact:
    assert job.result is not None
    return ArtifactStore(workspace).get(job.result["reference"], "adapter")


def test_an_orphaned_job_ends_with_a_registered_adapter(orphan: Job, workspace: Workspace) -> None:
    assert orphan.result is not None
    adapter = adapter_of(orphan, workspace)
    roles = {parent.role: parent.reference for parent in adapter.manifest.parents}
    assert roles == {"base": "tiny-base:1", "data": "faq:1", "held-out": "faq-held-out:1"}
    store = ArtifactStore(workspace)
    assert [node.state for node in store.lineage(adapter).parents] == ["present"] * 3
    assert store.verify(adapter) == []
    (licence,) = adapter.manifest.licence
    assert licence.name == "Apache-2.0" and licence.text_file is not None
    assert "terms of the tiny base" in (adapter.folder / licence.text_file).read_text()
    card = (adapter.folder / "card.md").read_text()
    assert "tiny-base:1" in card and "Apache-2.0" in card and "kajiya chat faq" in card
    for who in ("base", "tuned"):
        assert {"held-out: key_facts", "trained: key_facts"} <= adapter.manifest.metrics[who].keys()
    assert [len(c["rows"]) for c in orphan.result["comparisons"]] == [2, 2]
    assert str(workspace.home) not in (adapter.folder / "adapter_config.json").read_text()
    steps = [event.step for event in orphan.events if isinstance(event, Metric)]
    assert orphan.result["training"]["steps"] == max(steps)


async def test_the_result_answers(orphan: Job, workspace: Workspace, tmp_path: Path) -> None:
    model = resolve_servable("faq", workspace)
    settings = EngineSettings(slots=1, threads=1, context_length=256)
    engine = WorkerEngine([model], settings, log=tmp_path / "log")
    options = {"model": model.name, "max_tokens": 8}
    tuned = await said(engine, adapters=model.mixture(), **options)
    base = await said(engine, **options)
    await engine.close()
    assert tuned and tuned != base


def test_killed_at_a_random_step_and_resumed_it_is_the_same_bit_for_bit(
    orphan: Job, workspace: Workspace, supervisor: Supervisor, table: Path
) -> None:
    plan = make_plan(table, "faq", workspace, base="tiny-base", evaluate_rows=2, overrides=OPTIONS)
    job = start(plan, workspace)
    wanted = random.randint(2, 6)
    position = 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        events, position = job.events.read(position)
        if any(isinstance(event, Metric) and event.step >= wanted for event in events):
            break
        time.sleep(0.002)
    running = supervisor.get(job.id)
    assert running.pid is not None, running.log_file.read_text()
    os.kill(running.pid, signal.SIGKILL)
    lost = supervisor.wait(job.id, 60)
    assert lost.state is State.LOST, f"it was not killed in training at step {wanted}"
    assert not (job.folder / "adapter").exists()
    supervisor.resume(job.id)
    done = supervisor.wait(job.id, 300)
    assert (done.state, done.attempt) == (State.SUCCEEDED, 2), done.log_file.read_text()
    ours, whole = adapter_of(done, workspace), adapter_of(orphan, workspace)
    assert ours.reference != whole.reference
    for name in ADAPTER_FILES:
        same = (ours.folder / name).read_bytes() == (whole.folder / name).read_bytes()
        assert same, f"{name} differs after a kill at step {wanted}"


def test_an_adapter_is_no_base(orphan: Job, workspace: Workspace, table: Path) -> None:
    with pytest.raises(ConfigError, match="is an adapter") as caught:
        make_plan(table, "again", workspace, base=adapter_of(orphan, workspace).reference)
    assert "tiny-base:1" in caught.value.fix


def test_held_out_files_are_found_by_name(table: Path, tmp_path: Path) -> None:
    assert find_held_out(table) == table.parent / "paraphrases.csv"
    assert find_held_out(tmp_path / "faq.csv") is None
