"""`kajiya models create` and `kajiya train pretrain`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kajiya.cli.main import main
from kajiya.core.events import Metric
from kajiya.core.workspace import ENVIRONMENT, Workspace
from kajiya.forge.pretrain_plan import plan_pretrain, start_pretrain
from kajiya.jobs.status import State
from kajiya.jobs.supervisor import Supervisor
from kajiya.models.creating import register_new
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from support.corpora import documents, make_tokenizer

SMALL = ["--context", "16", "--batch-rows", "16", "--evaluations", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, and `corpus.jsonl`."""
    folder = tmp_path_factory.mktemp("pretrain")
    make_tokenizer(folder)
    lines = [json.dumps({"text": document.text}) for document in documents()]
    (folder / "corpus.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.fixture(scope="module")
def workspace(folder: Path) -> Workspace:
    return Workspace(folder / "home").create()


@pytest.fixture(autouse=True)
def _here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(workspace.home))


def new_model(folder: Path, workspace: Workspace, name: str) -> None:
    register_new("rwkv7", "2x64", folder, name, workspace)


def test_a_model_is_made_and_its_training_estimated(
    folder: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--arch", "llama", "--size", "2x64", "--tokenizer", str(folder), "--name", "made"]
    assert main(["models", "create", *options]) == 0
    assert "made:1" in capsys.readouterr().out
    text = ["--text", str(folder / "corpus.jsonl")]
    assert main(["train", "pretrain", "--model", "made", *text, *SMALL, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "made:1" in shown and "Needs" in shown
    assert not Supervisor(workspace).list()


def test_stopped_resumed_and_registered(
    folder: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    new_model(folder, workspace, "small")
    overrides = {"context": 16, "batch_rows": 16, "tokens": 16 * 16 * 40, "checkpoint_every": 5}
    plan = plan_pretrain("small", workspace, texts=[folder / "corpus.jsonl"], overrides=overrides)
    supervisor = Supervisor(workspace)
    job = start_pretrain(plan, workspace)
    for event in supervisor.follow(job.id):
        if isinstance(event, Metric) and event.step >= 3:
            break
    supervisor.cancel(job.id)
    assert supervisor.get(job.id).state is State.CANCELLED
    assert main(["jobs", "resume", job.id]) == 0
    done = supervisor.wait(job.id, 120)
    assert done.state is State.SUCCEEDED, done.log_file.read_text()
    assert done.result is not None
    assert done.result["reference"] == "small:2"
    assert done.result["training"]["steps"] == 40
    trained = ArtifactStore(workspace).get("small", "model")
    assert trained.manifest.parents[0].reference == "small:1"
    assert trained.manifest.metrics["held-out"]["bits_per_byte"] > 0
    assert trained.manifest.details["corpus"]["documents"] == len(documents())
    assert (trained.folder / "training_log.jsonl").is_file()
    ChatTokenizer.load(trained.folder)


def test_mistakes_are_told_before_anything_starts(
    folder: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    new_model(folder, workspace, "mistakes")
    train = ["train", "pretrain", "--model", "mistakes"]
    before = len(Supervisor(workspace).list())
    assert main(train) == 1
    assert "--aozora" in capsys.readouterr().err
    assert main([*train, "--text", str(folder / "no.txt")]) == 1
    assert "no.txt" in capsys.readouterr().err
    assert main([*train, "--aozora", str(folder / "no.tar")]) == 1
    assert "no.tar" in capsys.readouterr().err
    assert main(["models", "create", "--size", "4M", "--tokenizer", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err
    assert len(Supervisor(workspace).list()) == before
