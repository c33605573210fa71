"""`kajiya corpus` as it is typed, and training on what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kajiya.cli.main import main
from kajiya.core.errors import ConfigError
from kajiya.core.workspace import ENVIRONMENT, Workspace
from kajiya.corpus import layout
from kajiya.corpus.build import Corpus
from kajiya.forge.pretrain_plan import plan_pretrain, start_pretrain
from kajiya.jobs.status import State
from kajiya.jobs.supervisor import Supervisor
from kajiya.models.creating import register_new
from kajiya.store.artifacts import Artifact, ArtifactStore
from support.corpora import make_tokenizer
from support.recipes import digests, make_sources


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("home")).create()


@pytest.fixture(autouse=True)
def _here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(workspace.home))


@pytest.fixture(scope="module")
def built(recipe: Path, workspace: Workspace) -> Artifact:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, str(workspace.home))
        assert main(["corpus", "build", str(recipe), "--name", "mixed", "--workers", "1"]) == 0
    return ArtifactStore(workspace).get("mixed", layout.KIND)


def test_a_dry_run_reads_and_writes_nothing(
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "other"))
    assert main(["corpus", "build", str(recipe), "--name", "x", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "web" in shown and "90 %" in shown and "100 %" in shown
    assert Supervisor(Workspace(tmp_path / "other")).list() == []


def test_a_mistake_in_the_recipe_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text("sources: [{kind: files, path: x}]\nruels: a\n", "utf-8")
    assert main(["corpus", "build", str(tmp_path / "r.yaml"), "--name", "x"]) == 1
    assert "r.yaml:2: ruels" in capsys.readouterr().err


def test_what_the_last_stages_need_is_looked_for_before_the_first(
    recipe: Path, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(Supervisor(workspace).list())
    sources = f"sources: [{{kind: table, path: {recipe.parent / 'books.jsonl'}}}]\n"
    for rest, told in (
        ("rules: no-such", "no-such"),
        ("contamination: {items: [a.jsonl]}", "a.jsonl"),
    ):
        (tmp_path / "r.yaml").write_text(sources + rest, "utf-8")
        assert main(["corpus", "build", str(tmp_path / "r.yaml"), "--name", "x"]) == 1
        assert told in capsys.readouterr().err
    assert len(Supervisor(workspace).list()) == before


def test_it_is_an_artifact_with_licences_and_a_report(
    built: Artifact, workspace: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert ArtifactStore(workspace).verify(built) == []
    licences = {licence.name: licence.source for licence in built.manifest.licence}
    assert licences == {"CC-BY-4.0": "web", "CC0-1.0": "books"}
    assert "CC-BY-4.0" in (built.folder / "card.md").read_text("utf-8")
    assert main(["corpus", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["reference"] == "mixed:1"
    assert main(["corpus", "list"]) == 0
    assert main(["corpus", "show", "mixed"]) == 0
    shown = capsys.readouterr().out
    assert "books" in shown and "Exact duplicates" in shown
    assert main(["corpus", "report", "mixed"]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()
    assert main(["corpus", "report", "mixed", "--output", str(tmp_path / "r.html")]) == 0
    assert "<h1>mixed</h1>" in (tmp_path / "r.html").read_text("utf-8")


def test_stages_and_the_artifact_are_told_by_the_job(built: Artifact, workspace: Workspace) -> None:
    job = Supervisor(workspace).list()[0]
    assert job.spec and (job.spec.kind, job.spec.name) == ("corpus", "mixed")
    stages = {event.stage for event in job.events if event.type == "progress"}
    assert {"read", "filter", "near", "tokenise", "assemble"} <= stages
    assert not (job.folder / "run").exists(), "the intermediate files are gone"


def test_cancelled_and_resumed_it_is_the_same(
    built: Artifact, recipe: Path, workspace: Workspace
) -> None:
    supervisor = Supervisor(workspace)
    assert main(["corpus", "build", str(recipe), "--name", "again", "--detach"]) == 0
    job = next(job for job in supervisor.list() if job.spec and job.spec.name == "again")
    for event in supervisor.follow(job.id):
        if event.type == "progress" and event.stage == "filter":
            break
    if not supervisor.get(job.id).ended:
        supervisor.cancel(job.id)
    if supervisor.get(job.id).state is not State.SUCCEEDED:
        assert supervisor.get(job.id).state is State.CANCELLED
        assert main(["jobs", "resume", job.id]) == 0
    again = ArtifactStore(workspace).get("again", layout.KIND)
    left = ("report.html", "manifest.json", "card.md")
    same = [
        {name: digest for name, digest in digests(each.folder).items() if name not in left}
        for each in (again, built)
    ]
    assert same[0] == same[1]


def test_two_presets_are_compared(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loose = tmp_path / "loose.yaml"
    loose.write_text("rules:\n  length: {min: 1}\n", "utf-8")
    page = tmp_path / "diff.html"
    strict = str(recipe.parent / "rules.yaml")
    assert main(["corpus", "diff", str(recipe), str(loose), strict, "--output", str(page)]) == 0
    shown = capsys.readouterr().out.split("\n")
    assert any("6" in line and "only loose keeps" in line for line in shown)
    text = page.read_text("utf-8")
    assert "短い。" in text and "://" not in text


def test_taking_down_says_who_saw_it(
    built: Artifact, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", "remove", "mixed:1", "w5", "--dry-run"]) == 0
    assert "mixed:1" in capsys.readouterr().out
    assert main(["corpus", "remove", "mixed:1", "w5", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert "mixed:2 is without them" in shown and "Still with them: mixed:1" in shown
    assert main(["corpus", "remove", "mixed", "w5", "--yes"]) == 1
    assert "no document is meant" in capsys.readouterr().err


def test_a_model_is_trained_on_it(built: Artifact, workspace: Workspace) -> None:
    register_new("rwkv7", "2x64", built.folder / layout.TOKENIZER, "small", workspace)
    overrides = {"context": 16, "batch_rows": 8, "tokens": 16 * 8 * 3, "evaluations": 1}
    plan = plan_pretrain("small", workspace, corpus="mixed:1", overrides=overrides)
    corpus = Corpus.open(built.folder / layout.SHARDS)
    trained = int(corpus.shards.lengths[corpus.trained].sum())
    assert plan.tokens == trained
    job = Supervisor(workspace).wait(start_pretrain(plan, workspace).id, 120)
    assert job.state is State.SUCCEEDED, job.log_file.read_text("utf-8")
    model = ArtifactStore(workspace).get("small", "model")
    assert [parent.role for parent in model.manifest.parents] == ["base", "corpus"]
    assert model.manifest.metrics["held-out"]["bits_per_byte"] > 0
    assert {licence.name for licence in model.manifest.licence} == {"CC-BY-4.0", "CC0-1.0"}


def test_a_model_with_another_tokenizer_is_refused(
    built: Artifact, workspace: Workspace, tmp_path: Path
) -> None:
    make_tokenizer(tmp_path)
    register_new("rwkv7", "2x64", tmp_path, "other", workspace)
    with pytest.raises(ConfigError, match="another tokenizer"):
        plan_pretrain("other", workspace, corpus="mixed:1")
    with pytest.raises(ConfigError, match="text or a corpus"):
        plan_pretrain("other", workspace)
