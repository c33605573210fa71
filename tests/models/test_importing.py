"""Folders and files from outside become models, or leave the workspace as it was."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.models.importing import import_model
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer

FolderOf = Callable[[str], Path]


@pytest.fixture
def folder(family_folder: FolderOf, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    target = tmp_path / "source"
    shutil.copytree(family_folder("llama"), target, ignore=shutil.ignore_patterns("*.gguf"))
    return target


def assert_untouched(workspace: Workspace) -> None:
    assert ArtifactStore(workspace).list() == []
    assert not [path for path in workspace.artifacts.rglob("*") if path.suffix == ".safetensors"]


def test_a_folder(folder: Path, workspace: Workspace) -> None:
    (folder / "LICENSE").write_text("terms")
    (folder / "evil.py").write_text("raise SystemExit('run')")
    made = import_model(str(folder), "mine", workspace, "MIT")
    names = {path.name for path in made.folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "LICENSE"} <= names
    assert "evil.py" not in names
    assert made.manifest.licence[0].name == "MIT"
    assert made.manifest.details["parameters"] > 10_000
    assert made.manifest.details["context_length"] == 256
    assert made.manifest.config["source"] == "source"
    assert ChatTokenizer.load(made.folder).stop_ids


def test_a_gguf_file(family_folder: FolderOf, workspace: Workspace) -> None:
    source = family_folder("gemma3") / "model.gguf"
    made = import_model(str(source), "mine", workspace)
    assert (made.folder / "base.gguf").read_bytes() == source.read_bytes()
    assert made.manifest.config["model_type"] == "gemma3_text"
    assert (made.folder / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_missing_file_is_named(folder: Path, workspace: Workspace, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FormatError, match=f"{name} is missing"):
        import_model(str(folder), "mine", workspace)
    assert_untouched(workspace)


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl"])
def test_pickled_weights_are_not_read(folder: Path, workspace: Workspace, name: str) -> None:
    (folder / "model.safetensors").unlink()
    canary = folder / "canary"
    (folder / name).write_bytes(pickle.dumps(_Canary(canary)))
    with pytest.raises(FormatError, match="pickled weights"):
        import_model(str(folder), "mine", workspace)
    with pytest.raises(FormatError, match="not a model that can be imported"):
        import_model(str(folder / name), "mine", workspace)
    assert not canary.exists()
    assert_untouched(workspace)


def test_a_pickle_beside_good_weights_stays_behind(folder: Path, workspace: Workspace) -> None:
    (folder / "training_args.bin").write_bytes(pickle.dumps(_Canary(folder / "canary")))
    made = import_model(str(folder), "mine", workspace)
    assert not list(made.folder.glob("*.bin")) and not (folder / "canary").exists()


@pytest.mark.parametrize("keep", [0, 7, 100, 20_000])
def test_truncated_safetensors(folder: Path, workspace: Workspace, keep: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        import_model(str(folder), "mine", workspace)
    assert_untouched(workspace)


def test_a_safetensors_header_that_claims_too_much(folder: Path, workspace: Workspace) -> None:
    (folder / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        import_model(str(folder), "mine", workspace)


def test_code_that_a_folder_brings_is_never_run(folder: Path, workspace: Workspace) -> None:
    canary = folder / "canary"
    (folder / "own.py").write_text(f"open({str(canary)!r}, 'w')\nclass Config: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="own code"):
        import_model(str(folder), "mine", workspace)
    assert not canary.exists()
    assert_untouched(workspace)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"model_type": "bert"}', '{"model_type": ["llama"]}', "{}", "\udcff"]
)
def test_a_configuration_that_is_none(folder: Path, workspace: Workspace, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError):
        import_model(str(folder), "mine", workspace)
    assert_untouched(workspace)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("tokenizer.json", text) for text in ("", "{}", "[1]", '{"model": null}')),
        *(("tokenizer_config.json", text) for text in ("", "[1]", "{")),
    ],
)
def test_a_broken_tokenizer(folder: Path, workspace: Workspace, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(FormatError):
        import_model(str(folder), "mine", workspace)
    assert_untouched(workspace)


def test_links_out_of_the_folder_are_copied_as_files(folder: Path, workspace: Workspace) -> None:
    weights = folder / "model.safetensors"
    weights.rename(folder.parent / "blob")
    weights.symlink_to(folder.parent / "blob")  # as a hub's cache has them
    made = import_model(str(folder), "mine", workspace)
    assert not (made.folder / "model.safetensors").is_symlink()


def test_nothing_there(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        import_model(str(tmp_path / "none"), "mine", workspace)


def test_a_damaged_gguf_leaves_nothing(
    family_folder: FolderOf, tmp_path: Path, workspace: Workspace
) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes((family_folder("llama") / "model.gguf").read_bytes()[:50_000])
    with pytest.raises(FormatError, match="not a complete GGUF"):
        import_model(str(path), "mine", workspace)
    assert_untouched(workspace)
    assert not list(workspace.artifacts.rglob("*.gguf"))
