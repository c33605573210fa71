"""`kajiya train tune` and what becomes of its adapters, by the commands that people type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kajiya.cli.main import main
from kajiya.core.events import Metric
from kajiya.core.workspace import ENVIRONMENT, Workspace
from kajiya.forge.tune_plan import plan_tune, start_tune
from kajiya.jobs.status import State
from kajiya.jobs.supervisor import Supervisor
from kajiya.models.recurrent.tuned import load_state, weights_sha256
from kajiya.models.states import import_state
from kajiya.store.artifacts import ArtifactStore
from support.recurrent import register_rwkv
from support.tiny_models import register_base

FAST = {"batch_tokens": 256, "checkpoint_every": 50, "rank": 2}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("train") / "home").create()
    register_rwkv(workspace)
    register_base(workspace)
    return workspace


@pytest.fixture(autouse=True)
def _here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(workspace.home))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "qa.csv"
    rows = [f"Where is room {n}?,On floor {n % 4}." for n in range(24)]
    path.write_text("\n".join(["question,answer", *rows]) + "\n", encoding="utf-8")
    return path


def tune(*more: str, data: str, base: str = "tiny-rwkv", name: str = "fox") -> int:
    options = ["--base", base, "--data", data, "--name", name, "--batch-tokens", "256"]
    return int(main(["train", "tune", *options, *more]))


def test_stopped_resumed_and_used(
    workspace: Workspace, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = {"method": "lora+state", "epochs": 12, **FAST}
    plan = plan_tune(str(table), "both", workspace, base="tiny-rwkv", overrides=overrides)
    supervisor = Supervisor(workspace)
    job = start_tune(plan, workspace)
    for event in supervisor.follow(job.id):
        if isinstance(event, Metric):
            break
    supervisor.cancel(job.id)
    stopped = supervisor.get(job.id)
    assert stopped.state is State.CANCELLED, stopped.log_file.read_text()
    assert not (job.folder / "adapter").exists()
    assert main(["jobs", "resume", job.id]) == 0
    done = supervisor.wait(job.id, 300)
    assert (done.state, done.attempt) == (State.SUCCEEDED, 2), done.log_file.read_text()
    store = ArtifactStore(workspace)
    adapter = store.get("both", "adapter")
    assert done.result is not None
    assert done.result["reference"] == adapter.reference
    assert done.result["training"]["steps"] == done.result["training"]["total_steps"]
    assert adapter.manifest.config["method"] == "lora+state"
    roles = {parent.role: parent.reference for parent in adapter.manifest.parents}
    assert roles == {"base": "tiny-rwkv:1", "data": "both:1"}
    base = store.get("tiny-rwkv", "model")
    state = load_state(adapter.folder, weights_sha256(base.folder))
    assert state.values.any() and state.base == "tiny-rwkv:1"
    assert (adapter.folder / "adapter_model.safetensors").is_file()
    # What it can be taken out as, and what it cannot.
    export = ["models", "export", "both", "--output"]
    assert main([*export, str(tmp_path / "folder"), "--format", "adapter"]) == 0
    assert (tmp_path / "folder" / "state.safetensors").is_file()
    for more in (["--format", "safetensors", "--merge"], ["--format", "gguf"]):
        assert main([*export, str(tmp_path / "no"), *more]) == 1
        assert "no place in the weights" in capsys.readouterr().err
    # A dataset that the job has registered is data for the next one.
    assert tune("--dry-run", data="both") == 0
    assert "tiny-rwkv:1 + 24 rows" in capsys.readouterr().out


def test_the_estimate_counts_what_is_trained(workspace: Workspace, table: Path) -> None:
    counted = {
        method: plan_tune(
            str(table), "x", workspace, base="tiny-rwkv", overrides={"method": method, **FAST}
        ).estimate.trainable
        for method in ("state", "lora", "lora+state")
    }
    assert counted["state"] == 2 * 2 * 16 * 16
    width, inner = 32, 128
    assert counted["lora"] == 2 * 2 * (4 * 2 * width + 2 * (width + inner))
    assert counted["lora+state"] == counted["lora"] + counted["state"]


def test_what_cannot_be_tuned_is_said(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune("--method", "state", data=str(table), base="tiny-base") == 1
    assert "no state to tune" in capsys.readouterr().err
    assert tune(data=str(tmp_path / "none.csv")) == 1
    assert "none.csv" in capsys.readouterr().err
    assert tune(data="no-such-dataset") == 1
    assert "dataset" in capsys.readouterr().err


def test_a_recurrent_model_is_forged_and_answers(
    workspace: Workspace, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--method", "lora+state", "--epochs", "1", "--batch-tokens", "256", "--rank", "2"]
    options += ["--base", "tiny-rwkv", "--name", "forged", "--evaluate-rows", "4"]
    assert main(["forge", str(table), *options]) == 0
    assert "forged:1" in capsys.readouterr().out
    adapter = ArtifactStore(workspace).get("forged", "adapter")
    assert not (adapter.folder / "adapter.gguf").exists()
    assert {"base", "tuned"} <= adapter.manifest.metrics.keys()
    assert main(["chat", "forged", "--message", "Where is room 3?", "--max-tokens", "4"]) == 0


def test_community_states_come_in_mix_and_go_out(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("dry", "wet")):
        generator = torch.Generator().manual_seed(seed)
        torch.save(
            {
                f"blocks.{i}.att.time_state": torch.randn(2, 16, 16, generator=generator)
                for i in (0, 1)
            },
            tmp_path / f"{name}.pth",
        )
    source = str(tmp_path / "dry.pth")
    assert main(["models", "import", source, "--base", "tiny-rwkv", "--name", "dry"]) == 0
    import_state(tmp_path / "wet.pth", "tiny-rwkv", "wet", workspace)
    assert main(["models", "mix-states", "dry:0.7", "wet:1:0.3", "--name", "damp"]) == 0
    output = str(tmp_path / "damp.pth")
    assert main(["models", "export", "damp", "--format", "pth", "--output", output]) == 0
    dry, wet, damp = (
        torch.load(tmp_path / f"{name}.pth", weights_only=True) for name in ("dry", "wet", "damp")
    )
    for name, values in damp.items():
        torch.testing.assert_close(values, 0.7 * dry[name] + 0.3 * wet[name])
    capsys.readouterr()
    assert main(["models", "show", "damp", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["method"] == "state"
    for wrong in ("dry", "dry:", "dry:much"):
        assert main(["models", "mix-states", wrong, "--name", "bad"]) == 1
        assert "a weight is missing" in capsys.readouterr().err
    assert main(["models", "export", "tiny-rwkv", "--format", "adapter", "--output", output]) == 1
