"""`kajiya models`, through the command line (here, beside the fixtures of the store)."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from kajiya.cli.models import models
from kajiya.core.errors import ConflictError, NotFoundError
from kajiya.store.artifacts import ArtifactStore


@pytest.fixture
def store(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """A base, a dataset and an adapter named like the dataset."""
    monkeypatch.setenv("KAJIYA_HOME", str(store.workspace.home))
    monkeypatch.setenv("KAJIYA_LANG", "en")
    with store.draft("model", "gemma", description="a [bold]base[/bold]") as base:
        (base.folder / "model.bin").write_bytes(b"x" * 2000)
    with store.draft("dataset", "company-faq") as data:
        pass
    parents = [base.artifact.as_parent("base"), data.artifact.as_parent("data")]
    with store.draft("adapter", "company-faq", parents=parents) as draft:
        draft.metrics |= {"base": {"key_fact": 0.1}, "tuned": {"key_fact": 0.9}}
    return store


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(models, arguments, input=answer, catch_exceptions=False)


def test_list(store: ArtifactStore) -> None:
    shown = run("list").output
    assert "gemma:1" in shown and "company-faq:1" in shown and "2.0 kB" in shown
    assert "[bold]" in shown  # a description is text, not markup
    assert "dataset" not in shown
    assert [item["kind"] for item in json.loads(run("list", "--json").output)] == [
        "adapter",
        "model",
    ]
    assert "company-faq:1" in run("list", "--kind", "dataset").output


def test_list_says_what_to_do_when_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, store: ArtifactStore
) -> None:
    monkeypatch.setenv("KAJIYA_HOME", str(store.workspace.home / "elsewhere"))
    assert "kajiya forge" in run("list").output


def test_list_reports_damaged_artifacts(store: ArtifactStore) -> None:
    (store.get("gemma").folder / "manifest.json").write_text("garbage")
    result = run("list")
    assert "company-faq:1" in result.stdout
    assert "manifest is damaged" in result.stderr


def test_show_prefers_the_adapter(store: ArtifactStore) -> None:
    shown = run("show", "company-faq").output
    assert "adapter" in shown and "key_fact" in shown
    values = json.loads(run("show", "company-faq", "--json").output)
    assert values["kind"] == "adapter"
    values = json.loads(run("show", "gemma", "--json").output)
    assert values["children"] == ["adapter company-faq:1"]
    assert (
        json.loads(run("show", "company-faq", "--kind", "dataset", "--json").output)["kind"]
        == "dataset"
    )
    with pytest.raises(NotFoundError) as missing:
        run("show", "compani-faq")
    assert "company-faq" in missing.value.fix


def test_card_and_lineage(store: ArtifactStore) -> None:
    assert run("card", "company-faq").output.startswith("# company-faq:1\n")
    shown = run("lineage", "company-faq").output
    assert "base: model gemma:1" in shown and "data: dataset company-faq:1" in shown
    store.remove("gemma", force=True)
    assert "(removed)" in run("lineage", "company-faq").output
    tree = json.loads(run("lineage", "company-faq", "--json").output)
    assert [parent["state"] for parent in tree["parents"]] == ["missing", "present"]


def test_verify(store: ArtifactStore) -> None:
    assert run("verify").exit_code == 0
    (store.get("gemma").folder / "model.bin").write_bytes(b"y")
    result = run("verify")
    assert result.exit_code == 1
    assert "model.bin: changed" in result.output
    assert run("verify", "company-faq").exit_code == 0


def test_rm_asks_and_protects_parents(store: ArtifactStore) -> None:
    assert run("rm", "company-faq", answer="n\n").exit_code == 1
    assert len(store.list()) == 3
    with pytest.raises(ConflictError):
        run("rm", "gemma", "--yes")
    assert "Deleted adapter company-faq:1" in run("rm", "company-faq", answer="y\n").output
    run("rm", "gemma", "--yes")
    assert [found.kind for found in store.list()] == ["dataset"]
