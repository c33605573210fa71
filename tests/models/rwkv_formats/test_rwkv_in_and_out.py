"""RWKV models through the commands: into the workspace from each format, and out of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kajiya.cli.models import models
from kajiya.core.errors import ConfigError, FormatError
from kajiya.core.workspace import Workspace
from kajiya.models.converting import convert
from kajiya.models.exporting import export
from kajiya.models.formats.rwkv.pth import read_pth, write_pth
from kajiya.models.importing import import_model
from kajiya.models.resolve import name_for, resolve
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.world import VOCAB_SIZE
from support.llama_logprobs import LlamaCppLogprobs, largest_difference, torch_next
from support.rwkv_folders import tiny_rwkv
from support.tuning import randomise

FolderOf = Callable[[str], Path]
PROMPT = [(7 * i * i + 3) % 300 + 5 for i in range(40)]


def same_weights(one: Path, other: Path) -> bool:
    before, after = (load_file(folder / "model.safetensors") for folder in (one, other))
    return before.keys() == after.keys() and all(
        torch.equal(before[name], after[name]) for name in before
    )


def test_the_commands(
    rwkv_folder: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> str:
        return CliRunner().invoke(models, arguments, catch_exceptions=False).stdout

    source = rwkv_folder("rwkv7")
    said = run("import", str(source / "official.pth"), "--name", "goose", "--licence", "Apache-2.0")
    assert said.startswith("Imported goose:1")
    made = ArtifactStore(Workspace.current()).get("goose")
    assert same_weights(source, made.folder)
    assert made.manifest.licence[0].name == "Apache-2.0"
    assert made.manifest.config["model_type"] == "rwkv7"
    target = tmp_path / "goose.pth"
    run("export", "goose", "--format", "pth", "--output", str(target))
    assert read_pth(target).options == read_pth(source / "official.pth").options


def test_our_own_folder(rwkv_folder: FolderOf, workspace: Workspace, tmp_path: Path) -> None:
    source = rwkv_folder("rwkv6")
    first = import_model(str(source), "finch", workspace)
    assert same_weights(source, first.folder)
    folder = export("finch", tmp_path / "out", workspace, "safetensors")
    again = import_model(str(folder), "again", workspace)
    assert same_weights(source, again.folder)
    assert (again.folder / "config.json").read_text() == (first.folder / "config.json").read_text()


def test_a_world_model_gets_the_world_tokenizer(workspace: Workspace, tmp_path: Path) -> None:
    folder, path = tmp_path / "model", tmp_path / "RWKV-x060-World-tiny.pth"
    model = tiny_rwkv("rwkv6", VOCAB_SIZE, hidden_size=64, num_hidden_layers=1)
    model.to(torch.bfloat16).save_pretrained(folder)
    write_pth(folder, path)
    made = import_model(str(path), name_for(str(path)), workspace)
    assert made.reference == "RWKV-x060-World-tiny:1"
    chat = ChatTokenizer.load(made.folder)
    assert chat.encode("User") == [24281] and chat.stop_text == "\n\n"
    assert resolve(str(path), workspace).reference == made.reference  # known by its digest


def test_a_model_without_a_tokenizer(
    rwkv_folder: FolderOf, workspace: Workspace, tmp_path: Path
) -> None:
    shutil.copyfile(rwkv_folder("rwkv7") / "official.pth", tmp_path / "alone.pth")
    with pytest.raises(FormatError, match="no tokenizer beside it"):
        import_model(str(tmp_path / "alone.pth"), "alone", workspace)
    assert ArtifactStore(workspace).list() == []


def test_a_tokenizer_of_another_model(
    rwkv_folder: FolderOf, workspace: Workspace, tmp_path: Path
) -> None:
    folder = shutil.copytree(rwkv_folder("rwkv7"), tmp_path / "model")
    definition = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = definition["model"]["vocab"]
    definition["model"]["vocab"] = {piece: index + 50 for piece, index in vocabulary.items()}
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(FormatError, match="more tokens than the model"):
        import_model(str(folder), "odd", workspace)


def test_an_adapter_merged(rwkv_folder: FolderOf, workspace: Workspace, tmp_path: Path) -> None:
    base = import_model(str(rwkv_folder("rwkv7")), "base", workspace)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    options = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned = get_peft_model(model, options)
    randomise(tuned)
    parents = [base.as_parent("base")]
    with ArtifactStore(workspace).draft("adapter", "tuned", parents=parents) as draft:
        tuned.save_pretrained(draft.folder)
        (draft.folder / "README.md").unlink()
    with pytest.raises(ConfigError, match="no initial state"):
        export("tuned", tmp_path / "out.pth", workspace, "pth")
    folders = base.folder, draft.artifact.folder
    convert(*folders, "pth", tmp_path / "out.pth", "tuned")
    merged = read_pth(tmp_path / "out.pth").weights["blocks.1.att.key.weight"].float()
    layer = tuned.base_model.model.model.blocks[1].att.key
    expected = layer.base_layer.weight + layer.get_delta_weight("default")
    assert torch.allclose(merged, expected, atol=0.02)
    assert not torch.allclose(merged, layer.base_layer.weight, atol=0.02)
    convert(*folders, "f32", tmp_path / "out.gguf", "tuned")
    found = LlamaCppLogprobs(tmp_path / "out.gguf").next(PROMPT, 90)
    assert largest_difference(torch_next(tuned.eval(), PROMPT), found) < 1e-3
