"""Artifacts: made whole or not at all, found again, checked, traced and removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kajiya.core.errors import ConfigError, ConflictError, FormatError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.store.artifacts import Artifact, ArtifactStore, Licence, Parent


def make(store: ArtifactStore, kind: str, name: str, **options: Any) -> Artifact:
    with store.draft(kind, name, **options) as draft:
        (draft.folder / "weights.bin").write_bytes(name.encode() * 10)
    return draft.artifact


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_draft_becomes_an_immutable_numbered_folder(store: ArtifactStore) -> None:
    with store.draft("model", "smith", config={"layers": 2}, description="説明") as draft:
        (draft.folder / "sub").mkdir()
        (draft.folder / "sub" / "a.txt").write_text("abc")
        draft.metrics["loss"] = 1.5
        draft.details["rows"] = 120
    artifact = draft.artifact
    assert artifact.reference == "smith:1"
    assert artifact.folder == store.workspace.artifacts / "model" / "smith" / "1"
    manifest = artifact.manifest
    assert manifest.files["sub/a.txt"].size == 3
    assert manifest.files["sub/a.txt"].sha256.startswith("ba7816bf")
    assert (manifest.config, manifest.metrics, manifest.details) == (
        {"layers": 2},
        {"loss": 1.5},
        {"rows": 120},
    )
    assert manifest.created_at.endswith("+00:00")
    assert json.loads((artifact.folder / "manifest.json").read_text())["description"] == "説明"
    assert "smith:1" in (artifact.folder / "card.md").read_text()
    assert make(store, "model", "smith").version == 2


def test_a_failed_draft_leaves_nothing(store: ArtifactStore) -> None:
    store.list()
    before = listing(store.workspace.home)
    with pytest.raises(ZeroDivisionError), store.draft("model", "smith") as draft:
        (draft.folder / "half").write_text("x")
        raise ZeroDivisionError
    after = {name for name in listing(store.workspace.home) if not name.startswith("artifacts/.")}
    assert after <= before
    assert store.list() == []
    assert list((store.workspace.artifacts / ".scratch").iterdir()) == []


def test_the_artifact_of_an_open_draft_cannot_be_asked_for(store: ArtifactStore) -> None:
    with store.draft("model", "smith") as draft, pytest.raises(RuntimeError):
        _ = draft.artifact


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/b", "", ".hidden", "日本", "a\0b", "-x", "a" * 101]
)
def test_names_that_could_leave_the_folder_are_refused(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ConfigError), store.draft("model", name):
        pass
    with pytest.raises(ConfigError), store.draft(name, "model"):
        pass
    with pytest.raises(ConfigError):
        store.get(name)


@pytest.mark.parametrize("reference", ["a:", "a:0", "a:-1", "a:x", "a:1:2", "a:１"])
def test_references_that_are_no_version_are_refused(store: ArtifactStore, reference: str) -> None:
    with pytest.raises(ConfigError):
        store.get(reference)


def test_links_and_reserved_names_cannot_be_in_an_artifact(store: ArtifactStore) -> None:
    with pytest.raises(ConfigError, match="link"), store.draft("model", "a") as draft:
        (draft.folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match=r"card\.md"), store.draft("model", "a") as draft:
        (draft.folder / "card.md").write_text("mine")
    assert store.list() == []


def test_getting(store: ArtifactStore) -> None:
    make(store, "model", "company-faq")
    make(store, "model", "company-faq")
    make(store, "dataset", "rules")
    assert store.get("company-faq").version == 2
    assert store.get("company-faq:1").version == 1
    assert [found.reference for found in store.list("model")] == ["company-faq:1", "company-faq:2"]
    assert len(store.list()) == 3
    with pytest.raises(NotFoundError) as close:
        store.get("compny-faq")
    assert "company-faq" in close.value.fix
    with pytest.raises(NotFoundError) as version:
        store.get("company-faq:7")
    assert "1, 2" in version.value.fix
    with pytest.raises(NotFoundError):
        store.get("rules", kind="model")


def test_a_name_of_several_kinds_needs_the_kind(store: ArtifactStore) -> None:
    make(store, "model", "faq")
    make(store, "dataset", "faq")
    with pytest.raises(ConflictError, match="dataset, model"):
        store.get("faq")
    assert store.get("faq", "dataset").kind == "dataset"


def test_removing(store: ArtifactStore) -> None:
    base = make(store, "model", "base")
    child = make(store, "adapter", "tuned", parents=[base.as_parent("base")])
    with pytest.raises(ConflictError, match="adapter tuned:1"):
        store.remove("base")
    assert base.folder.exists()
    store.remove("base", force=True)
    assert not base.folder.exists()
    assert store.lineage(child).parents[0].state == "missing"
    store.remove("tuned:1")
    assert store.list() == []
    with pytest.raises(NotFoundError):
        store.remove("tuned")


def test_lineage_and_children(store: ArtifactStore) -> None:
    base = make(store, "model", "base")
    data = make(store, "dataset", "faq")
    child = make(
        store, "adapter", "tuned", parents=[base.as_parent("base"), data.as_parent("data")]
    )
    grandchild = make(store, "model", "merged", parents=[child.as_parent("adapter")])
    tree = store.lineage(grandchild)
    assert [node.reference for node in tree.parents] == ["tuned:1"]
    assert [(node.role, node.reference) for node in tree.parents[0].parents] == [
        ("base", "base:1"),
        ("data", "faq:1"),
    ]
    assert [found.reference for found in store.children(base)] == ["tuned:1"]
    assert store.children(grandchild) == []


def test_another_artifact_under_a_parents_reference_is_not_taken_for_it(
    store: ArtifactStore,
) -> None:
    base = make(store, "model", "base")
    child = make(store, "adapter", "tuned", parents=[base.as_parent("base")])
    store.remove("base", force=True)
    other = make(store, "model", "base", description="other")
    assert other.reference == base.reference
    assert store.lineage(child).parents[0].state == "changed"
    assert store.children(other) == []


def test_parents_need_not_be_in_the_store(store: ArtifactStore) -> None:
    parent = Parent(kind="model", reference="far:1", manifest_sha256="0" * 64, role="base")
    child = make(store, "adapter", "imported", parents=[parent])
    assert store.lineage(child).parents[0].state == "missing"


def test_licences_come_down_with_their_texts(store: ArtifactStore) -> None:
    gemma = Licence(name="Gemma", source="base", text_file="TERMS.txt")
    with store.draft("model", "base", licence=[gemma]) as draft:
        (draft.folder / "TERMS.txt").write_text("the terms")
    data = make(store, "dataset", "faq", licence=[Licence(name="CC-BY", source="faq.csv")])
    parents = [draft.artifact.as_parent("base"), data.as_parent("data")]
    child = make(
        store, "adapter", "tuned", parents=parents, licence=[Licence(name="own", source="tuned")]
    )
    grandchild = make(store, "model", "merged", parents=[child.as_parent("base"), *parents])
    for artifact in (child, grandchild):
        licences = {entry.name: entry for entry in artifact.manifest.licence}
        assert set(licences) == {"own", "Gemma", "CC-BY"}
        text_file = licences["Gemma"].text_file
        assert text_file is not None
        assert (artifact.folder / text_file).read_text() == "the terms"
        assert text_file in artifact.manifest.files


def test_a_licence_text_must_be_there(store: ArtifactStore) -> None:
    licence = Licence(name="x", source="y", text_file="no.txt")
    with pytest.raises(ConfigError, match=r"no\.txt"):
        make(store, "model", "a", licence=[licence])


def test_verify_names_every_difference(store: ArtifactStore) -> None:
    with store.draft("model", "a") as draft:
        for name in ("kept", "changed", "missing", "linked"):
            (draft.folder / name).write_text(name)
    artifact = draft.artifact
    assert store.verify(artifact) == []
    (artifact.folder / "changed").write_text("CHANGED")
    (artifact.folder / "missing").unlink()
    (artifact.folder / "added").write_text("")
    (artifact.folder / "linked").unlink()
    (artifact.folder / "linked").symlink_to("kept")
    path = artifact.folder / "manifest.json"
    path.write_text(path.read_text() + " ")
    assert store.verify(artifact) == [
        "manifest.json: changed",
        "changed: changed",
        "linked: changed",
        "missing: missing",
        "added: added",
    ]


def test_the_index_is_rebuilt_when_the_database_is_lost(store: ArtifactStore) -> None:
    base = make(store, "model", "base")
    make(store, "adapter", "tuned", parents=[base.as_parent("base")])
    for path in store.workspace.home.glob("kajiya.db*"):
        path.unlink()
    again = ArtifactStore(store.workspace)
    assert [found.reference for found in again.list()] == ["tuned:1", "base:1"]
    assert [found.reference for found in again.children(base)] == ["tuned:1"]
    again.reindex()
    assert [found.reference for found in again.children(base)] == ["tuned:1"]


def test_a_folder_without_a_row_and_a_row_without_a_folder_are_noticed(
    store: ArtifactStore, tmp_path: Path
) -> None:
    first, second = make(store, "model", "first"), make(store, "model", "second")
    shutil.move(first.folder, tmp_path / "aside")
    assert [found.name for found in store.list()] == ["second"]
    shutil.move(tmp_path / "aside", first.folder)
    shutil.rmtree(second.folder)
    assert [found.name for found in store.list()] == ["first"]
    with pytest.raises(NotFoundError):
        store.get("second")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "[]",
        "{}",
        '{"format": 99}',
        '{"kind": "model", "name": "a", "version": 1, "created_at": "", "code_version": "", '
        '"files": {"../../key": {"sha256": "", "size": 1}}}',
    ],
)
def test_a_damaged_manifest_hides_only_its_own_artifact(store: ArtifactStore, text: str) -> None:
    artifact = make(store, "model", "a")
    make(store, "model", "b")
    (artifact.folder / "manifest.json").write_text(text)
    assert [found.name for found in store.list()] == ["b"]
    assert len(store.damaged()) == 1
    with pytest.raises(FormatError, match=r"manifest\.json"):
        store.get("a")
    store.reindex()
    assert make(store, "model", "a").version == 2  # a damaged folder's number is not given again


def test_a_newer_manifest_says_so(store: ArtifactStore) -> None:
    artifact = make(store, "model", "a")
    path = artifact.folder / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(FormatError, match="newer"):
        store.get("a")


def test_a_folder_moved_under_another_name_is_refused(store: ArtifactStore) -> None:
    artifact = make(store, "model", "a")
    shutil.copytree(artifact.folder, artifact.folder.parent.parent / "b" / "1")
    assert [found.name for found in store.list()] == ["a"]
    assert "another artifact" in store.damaged()[0]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from kajiya.core.workspace import Workspace
from kajiya.store.artifacts import ArtifactStore
store = ArtifactStore(Workspace(Path(sys.argv[1])))
if sys.argv[2] == "kill-after-rename":
    from kajiya.store.index import Index
    from contextlib import contextmanager
    @contextmanager
    def adding(self, manifest, sha):
        yield
        os.kill(os.getpid(), signal.SIGKILL)
    Index.adding = adding
with store.draft("model", "shared") as draft:
    (draft.folder / "pid").write_text(str(os.getpid()))
    print("drafting", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "kill-in-draft":
        os.kill(os.getpid(), signal.SIGKILL)
print(draft.artifact.reference, flush=True)
"""


def drafting(workspace: Workspace, mode: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(workspace.home), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"KAJIYA_LANG": "en"},
    )
    assert process.stdout and process.stdout.readline() == "drafting\n"
    return process


def test_processes_that_draft_one_name_at_once_get_different_versions(
    workspace: Workspace, store: ArtifactStore
) -> None:
    other = drafting(workspace, "plain")
    with store.draft("model", "shared") as draft:  # while theirs is open: must not sweep it away
        theirs = other.communicate("\n")[0].strip()
    assert (theirs, draft.artifact.reference) == ("shared:1", "shared:2")
    assert [found.version for found in store.list()] == [1, 2]


def test_a_kill_between_rename_and_row_loses_nothing(
    workspace: Workspace, store: ArtifactStore
) -> None:
    process = drafting(workspace, "kill-after-rename")
    process.communicate("\n")
    assert process.returncode == -signal.SIGKILL
    assert store.get("shared").version == 1
    assert store.verify(store.get("shared")) == []


def test_what_a_killed_draft_leaves_is_swept_away(
    workspace: Workspace, store: ArtifactStore
) -> None:
    process = drafting(workspace, "kill-in-draft")
    process.communicate("\n")
    assert process.returncode == -signal.SIGKILL
    assert store.list() == []
    make(store, "model", "next")
    assert list((workspace.artifacts / ".scratch").iterdir()) == []
