"""Starters are pinned: any other package, version or bytes is refused, and nothing stays behind."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kajiya.core.errors import FormatError, NotFoundError, ResourceError
from kajiya.core.workspace import Workspace
from kajiya.models import starters
from kajiya.models.importing import import_model
from kajiya.models.starters import STARTERS, Part, Starter, assemble, find_starter, is_installed
from kajiya.store.artifacts import ArtifactStore


@pytest.fixture
def starter(
    family_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Starter:
    """A starter of two installed packages, with a tiny model's GGUF cut in two inside."""
    data = (family_folder("llama") / "model.gguf").read_bytes()
    site = tmp_path / "site"
    cut = len(data) // 2
    for number, piece in enumerate((data[:cut], data[cut:]), start=1):
        info = site / f"tiny_part{number}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n"
        )
        (site / f"tiny_part{number}").mkdir()
        (site / f"tiny_part{number}" / "piece").write_bytes(piece)
    (site / "tiny_part1" / "LICENSE").write_text("terms")
    (site / "tiny_part1" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(site))
    made = Starter(
        name="tiny",
        version="1.0",
        parts=(
            Part("tiny-part1", "tiny_part1/piece"),
            Part("tiny-part2", "tiny_part2/piece"),
        ),
        sha256=hashlib.sha256(data).hexdigest(),
        licence="MIT",
        licence_source="tiny",
        licence_files=(Part("tiny-part1", "tiny_part1/LICENSE"),),
        install="pip install tiny",
        english="Tiny",
        japanese="小さい",
    )
    monkeypatch.setitem(STARTERS, "tiny", made)
    return made


def test_the_parts_become_the_file(starter: Starter, tmp_path: Path) -> None:
    assert is_installed(starter)
    assemble(starter, tmp_path / "model.gguf")
    assert hashlib.sha256((tmp_path / "model.gguf").read_bytes()).hexdigest() == starter.sha256


def test_import(starter: Starter, workspace: Workspace) -> None:
    made = import_model("starter:tiny", "tiny", workspace)
    assert made.manifest.config["source"] == "starter:tiny"
    assert made.manifest.config["source_sha256"] == starter.sha256
    assert [(entry.name, entry.text_file) for entry in made.manifest.licence] == [
        ("MIT", "LICENSE")
    ]
    assert (made.folder / "base.gguf").is_file() and (made.folder / "model.safetensors").is_file()


def assert_refused(
    starter: Starter, error: type[Exception], match: str, workspace: Workspace, target: Path
) -> None:
    with pytest.raises(error, match=match) as caught:
        assemble(starter, target)
    assert "starter:tiny" in caught.value.where  # type: ignore[attr-defined]
    assert "pip install tiny" in caught.value.fix  # type: ignore[attr-defined]
    assert not target.exists() and not list(target.parent.glob(".*.tmp"))
    with pytest.raises(error):
        import_model("starter:tiny", "tiny", workspace)
    assert ArtifactStore(workspace).list() == []
    assert not list(workspace.artifacts.rglob("*.gguf"))


def test_a_starter_that_is_a_model_folder(
    starter: Starter,
    family_folder: Callable[[str], Path],
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    source = family_folder("llama")
    for name in names:
        shutil.copyfile(source / name, tmp_path / "site" / "tiny_part1" / name)
    joined = b"".join((source / name).read_bytes() for name in names)
    folder = dataclasses.replace(
        starter,
        form="folder",
        parts=tuple(Part("tiny-part1", f"tiny_part1/{name}") for name in names),
        sha256=hashlib.sha256(joined).hexdigest(),
    )
    monkeypatch.setitem(STARTERS, "tiny", folder)
    assert is_installed(folder)
    made = import_model("starter:tiny", "tiny", workspace)
    assert made.manifest.config["source_sha256"] == folder.sha256
    assert made.manifest.config["model_type"] == "llama"
    assert made.manifest.licence[0].text_file == "LICENSE"
    assert (made.folder / "config.json").read_bytes() == (source / "config.json").read_bytes()
    assert not (made.folder / "base.gguf").exists()
    (tmp_path / "site" / "tiny_part1" / "config.json").write_text("{}")
    with pytest.raises(FormatError, match="not the pinned"):
        import_model("starter:tiny", "other", workspace)
    assert [artifact.name for artifact in ArtifactStore(workspace).list()] == ["tiny"]


def test_other_bytes(starter: Starter, workspace: Workspace, tmp_path: Path) -> None:
    piece = tmp_path / "site" / "tiny_part2" / "piece"
    piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    assert_refused(starter, FormatError, "not the pinned", workspace, tmp_path / "model.gguf")


def test_a_missing_package(starter: Starter, workspace: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "site" / "tiny_part2-1.0.dist-info")
    assert not is_installed(starter)
    match = r"tiny-part2 1\.0 is needed \(found: not installed\)"
    assert_refused(starter, ResourceError, match, workspace, tmp_path / "model.gguf")


def test_another_version(
    starter: Starter, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = dataclasses.replace(starter, version="2.0")
    monkeypatch.setitem(STARTERS, "tiny", newer)
    assert not is_installed(newer)
    match = r"tiny-part1 2\.0 is needed \(found: 1\.0\)"
    assert_refused(newer, ResourceError, match, workspace, tmp_path / "model.gguf")


def test_unknown_names_list_the_known(starter: Starter) -> None:
    with pytest.raises(NotFoundError, match="no starter model") as caught:
        find_starter("starter:none")
    assert "gemma-3-270m" in caught.value.fix and "tiny" in caught.value.fix


def test_every_starter_is_pinned_and_has_its_terms() -> None:
    for name, known in starters.STARTERS.items():
        assert name == known.name
        assert len(known.sha256) == 64 and known.version and known.licence_files
