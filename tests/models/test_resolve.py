"""References to models: names, sources outside, and what happens when two ask at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.models.importing import import_model
from kajiya.models.resolve import base_of, name_for, resolve, resolve_folder
from kajiya.store.artifacts import ArtifactStore

FolderOf = Callable[[str], Path]


@pytest.fixture
def named(workspace: Workspace) -> Workspace:
    """A base "gemma" and an adapter "faq" over it."""
    store = ArtifactStore(workspace)
    with store.draft("model", "gemma") as base:
        pass
    with store.draft("adapter", "faq", parents=[base.artifact.as_parent("base")]):
        pass
    with store.draft("adapter", "orphan"):
        pass
    return workspace


def test_names(named: Workspace) -> None:
    adapter = resolve("faq", named)
    assert (adapter.kind, base_of(adapter, named).reference) == ("adapter", "gemma:1")
    model = resolve("gemma:1", named)
    assert base_of(model, named) == model
    assert resolve_folder("faq", named) == model.folder
    with pytest.raises(FormatError, match="names no base"):
        base_of(resolve("orphan", named), named)


def test_unknown_names_list_what_there_is(named: Workspace) -> None:
    with pytest.raises(NotFoundError, match="no model 'fap'") as caught:
        resolve("fap", named)
    assert "faq, gemma, orphan, starter:gemma-3-270m" in caught.value.fix
    with pytest.raises(NotFoundError) as caught:
        resolve("starter:none", named)
    assert "gemma-3-270m" in caught.value.fix


@pytest.mark.parametrize("path", ["/none/here", "./none", "none.gguf", "~/none-here"])
def test_a_path_that_is_not_there(named: Workspace, path: str) -> None:
    with pytest.raises(NotFoundError, match="no such file") as caught:
        resolve(path, named)
    assert caught.value.where == path


def test_names_for_sources() -> None:
    assert name_for("starter:gemma-3-270m") == "gemma-3-270m"
    assert name_for("hf:org/Some-Model") == "Some-Model"
    assert name_for("/a/b/モデル v2.gguf") == "v2"
    assert name_for("/a/日本") == "model"
    assert name_for("./folder/") == "folder"


def test_two_that_ask_at_once_import_once(family_folder: FolderOf, workspace: Workspace) -> None:
    source = str(family_folder("llama") / "model.gguf")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: resolve(source, workspace), range(2))
    assert first.reference == second.reference == "model:1"
    assert len(ArtifactStore(workspace).list("model")) == 1


def test_another_file_of_the_same_name_is_another_model(
    family_folder: FolderOf, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "model.gguf"
    shutil.copyfile(family_folder("gemma") / "model.gguf", other)
    source = family_folder("llama") / "model.gguf"
    for path in (source, other):
        import_model(str(path), "model", workspace)
    first, second = resolve(str(source), workspace), resolve(str(other), workspace)
    assert (first.reference, second.reference) == ("model:1", "model:2")
    assert second.manifest.config["model_type"] == "gemma"


def test_a_folder_is_imported_once(
    family_folder: FolderOf, workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(family_folder("llama"), folder, ignore=shutil.ignore_patterns("*.gguf"))
    made = import_model(str(folder), "mine", workspace)
    assert resolve(str(folder), workspace) == made
    assert resolve_folder(str(folder), workspace) == folder


def test_the_childs_error_is_told_as_its_own(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\xff" * 100)
    with pytest.raises(FormatError, match="not a complete GGUF"):
        resolve(str(path), workspace)
    assert ArtifactStore(workspace).list() == []


def test_nothing_here_imports_torch() -> None:
    code = "import sys, kajiya.models.resolve, kajiya.models.exporting, kajiya.cli.models;"
    code += "print(sorted({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
