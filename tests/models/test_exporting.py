"""What leaves the workspace can be used by others, whole, with its papers, and never over something."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from kajiya.cli.models import models
from kajiya.core.errors import ConfigError, ConflictError, FormatError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.models.exporting import export
from kajiya.models.formats.gguf_writer import write_adapter
from kajiya.store.artifacts import ArtifactStore
from support.llama_logprobs import LlamaCppLogprobs, largest_difference, torch_next
from support.tiny_models import register_base
from support.tuning import randomise

PROMPT = list(range(30, 70))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A base "base" with a licence, and a random adapter "tuned" over it."""
    workspace = Workspace(tmp_path_factory.mktemp("export")).create()
    base = register_base(workspace, "base")
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    options = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned = get_peft_model(model, options)
    randomise(tuned)
    parents = [base.as_parent("base")]
    with ArtifactStore(workspace).draft("adapter", "tuned", parents=parents) as draft:
        tuned.save_pretrained(draft.folder)
        (draft.folder / "README.md").unlink()
        config = AutoConfig.from_pretrained(base.folder)
        write_adapter(draft.folder, config, draft.folder / "adapter.gguf")
    return workspace


@pytest.fixture(scope="module")
def expected(workspace: Workspace) -> dict[str, torch.Tensor]:
    """What the base and the tuned model think comes after `PROMPT`."""
    store = ArtifactStore(workspace)
    folder = store.get("base").folder
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    base = torch_next(plain, PROMPT)
    tuned = PeftModel.from_pretrained(plain, store.get("tuned").folder).eval()
    return {"base": base, "tuned": torch_next(tuned, PROMPT)}


def in_torch(folder: Path) -> torch.Tensor:
    return torch_next(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), PROMPT)


def in_llama_cpp(base: Path, adapter: Path | None = None) -> dict[int, float]:
    return LlamaCppLogprobs(base, adapter).next(PROMPT, ascii_token=90)


def test_a_model_as_a_folder(
    workspace: Workspace, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    folder = export("base", tmp_path / "out", workspace, "safetensors")
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"),
        *("tokenizer.json", "tokenizer_config.json", "LICENSE", "card.md"),
    }
    assert torch.equal(in_torch(folder), expected["base"])


def test_a_model_as_gguf(
    workspace: Workspace, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    original = ArtifactStore(workspace).get("base").folder / "base.gguf"
    same = export("base", tmp_path / "same.gguf", workspace, "gguf")
    assert same.read_bytes() == original.read_bytes()
    smaller = export("base", tmp_path / "small.gguf", workspace, "gguf", precision="q8_0")
    assert smaller.stat().st_size < original.stat().st_size * 0.7
    assert largest_difference(expected["base"], in_llama_cpp(smaller)) < 0.3


def test_an_adapter_alone(
    workspace: Workspace, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    folder = export("tuned", tmp_path / "peft", workspace, "adapter")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    licence = next(name for name in files if name.startswith("licences/"))
    assert "terms of the tiny base" in (folder / licence).read_text()
    assert files == {"adapter_config.json", "adapter_model.safetensors", "card.md", licence}
    base = ArtifactStore(workspace).get("base").folder
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(plain, folder).eval()
    assert torch.equal(torch_next(tuned, PROMPT), expected["tuned"])
    gguf = export("tuned", tmp_path / "adapter.gguf", workspace, "gguf")
    assert largest_difference(expected["tuned"], in_llama_cpp(base / "base.gguf", gguf)) < 1e-4


def test_an_adapter_merged(
    workspace: Workspace, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    folder = export("tuned", tmp_path / "merged", workspace, "safetensors", merge=True)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert (folder / "tokenizer.json").is_file() and (folder / "card.md").is_file()
    assert list((folder / "licences").iterdir())
    assert (in_torch(folder) - expected["tuned"]).abs().max() < 0.2  # rounded to bf16
    options: dict[str, Any] = {"merge": True, "precision": "f32"}
    gguf = export("tuned", tmp_path / "merged.gguf", workspace, "gguf", **options)
    assert largest_difference(expected["tuned"], in_llama_cpp(gguf)) < 1e-4
    assert {path.name for path in tmp_path.iterdir()} == {"merged", "merged.gguf"}


@pytest.mark.parametrize(
    ("name", "form", "options"),
    [
        ("base", "adapter", {}),
        ("base", "gguf", {"merge": True}),
        ("tuned", "safetensors", {}),
        ("tuned", "adapter", {"merge": True}),
        ("tuned", "gguf", {"precision": "f16"}),
        ("base", "safetensors", {"precision": "f16"}),
    ],
)
def test_options_that_contradict_each_other(
    workspace: Workspace, tmp_path: Path, name: str, form: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as caught:
        export(name, tmp_path / "out", workspace, form, **options)
    assert caught.value.where == f"{name}:1"
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_replaced_only_by_force_and_only_if_it_is_an_export(
    workspace: Workspace, tmp_path: Path
) -> None:
    target = export("base", tmp_path / "out", workspace, "safetensors")
    with pytest.raises(ConflictError, match="exists") as caught:
        export("base", target, workspace, "safetensors")
    assert "--force" in caught.value.fix
    (target / "config.json").unlink()
    export("base", target, workspace, "safetensors", force=True)
    assert (target / "config.json").is_file()
    home = tmp_path / "precious"
    home.mkdir()
    (home / "thesis.txt").write_text("years")
    for form in ("safetensors", "gguf"):
        with pytest.raises(ConflictError, match="something else"):
            export("base", home, workspace, form, force=True)  # type: ignore[arg-type]
    assert (home / "thesis.txt").read_text() == "years"
    file = export("base", tmp_path / "a.gguf", workspace, "gguf")
    with pytest.raises(ConflictError):
        export("base", file, workspace, "gguf")
    export("base", file, workspace, "gguf", force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "precious", "a.gguf"}


def test_a_failure_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        export("none", tmp_path / "out", workspace, "gguf")
    other = Workspace(tmp_path / "home").create()
    with ArtifactStore(other).draft("model", "broken") as draft:
        (draft.folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FormatError, match="not supported"):
        export("broken", tmp_path / "out", other, "gguf")
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_commands(
    family_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> str:
        return CliRunner().invoke(models, arguments, catch_exceptions=False).stdout

    source = str(family_folder("llama") / "model.gguf")
    assert "Imported mine:1" in run("import", source, "--name", "mine", "--licence", "MIT")
    target = tmp_path / "out.gguf"
    said = run("export", "mine", "--format", "gguf", "--output", str(target))
    assert said.startswith(f"Wrote {target} (") and target.is_file()
    listed = json.loads(run("starters", "--json"))
    assert {"starter:gemma-3-270m", "starter:smollm2-135m"} <= {e["reference"] for e in listed}
    assert "starter:gemma-3-270m" in run("starters")
    with pytest.raises(ConfigError):
        run("import", source, "--name", "../up")
