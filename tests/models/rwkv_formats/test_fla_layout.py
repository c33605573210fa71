"""Folders in flash-linear-attention's layout become the same model as the official file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kajiya.core.errors import FormatError
from kajiya.core.workspace import Workspace
from kajiya.models.formats.rwkv.fla import is_fla, read_fla
from kajiya.models.formats.rwkv.pth import read_pth
from kajiya.models.importing import import_model

FolderOf = Callable[[str], Path]
# As the published configurations have them; the weights' classes are in the library, not here.
CONFIG = {
    "model_type": "rwkv7",
    "architectures": ["RWKV7ForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_rwkv7.RWKV7ForCausalLM"},
    "hidden_act": "sqrelu",
    "hidden_size": 128,
    "head_dim": 64,
    "decay_low_rank_dim": 24,
    "a_low_rank_dim": 40,
    "v_low_rank_dim": 16,
    "gate_low_rank_dim": 56,
    "norm_first": True,
    "norm_bias": True,
    "norm_eps": 1e-5,
    "attn": None,
}
WHOLE = {
    "emb.weight": "model.embeddings.weight",
    "head.weight": "lm_head.weight",
    "ln_out.weight": "model.norm.weight",
    "ln_out.bias": "model.norm.bias",
}
WORDS = {
    r"^blocks": "model.layers",
    r"\.ln0\.": ".pre_norm.",
    r"\.ln1\.": ".attn_norm.",
    r"\.ln2\.": ".ffn_norm.",
    r"\.att\.": ".attn.",
    r"attn\.receptance": "attn.r_proj",
    r"attn\.key": "attn.k_proj",
    r"attn\.value": "attn.v_proj",
    r"attn\.output": "attn.o_proj",
    r"attn\.ln_x": "attn.g_norm",
    r"attn\.([wavg])0": r"attn.\1_lora.lora.2.bias",
    r"attn\.([wavg])1": r"attn.\1_lora.lora.0.weight",
    r"attn\.([wavg])2": r"attn.\1_lora.lora.2.weight",
}


def to_fla(official: dict[str, Any], stacked: bool) -> dict[str, Any]:
    """What the library's own conversion script makes of an official file."""
    made: dict[str, Any] = {}
    for name, tensor in official.items():
        if re.match(r"blocks\.0\.att\.v\d", name):
            continue
        renamed = WHOLE.get(name, name)
        for pattern, word in WORDS.items():
            renamed = re.sub(pattern, word, renamed)
        if re.search(r"_lora\.lora\.[02]\.weight", renamed):
            tensor = tensor.t()
        elif not re.search(r"attn\.x_", renamed):
            tensor = tensor.squeeze()
        made[renamed] = tensor.contiguous().clone()
    if stacked:
        for layer in range(3):
            rows = [made.pop(f"model.layers.{layer}.attn.x_{letter}") for letter in "rwkvag"]
            made[f"model.layers.{layer}.attn.x_x"] = torch.stack(rows).reshape(6, -1)
    return made


@pytest.fixture(params=[False, True], ids=["separate", "stacked"])
def fla_folder(rwkv_folder: FolderOf, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    source, folder = rwkv_folder("rwkv7"), tmp_path / "fla-model"
    folder.mkdir()
    official = torch.load(source / "official.pth", weights_only=True)
    save_file(to_fla(official, request.param), folder / "model.safetensors")
    vocab_size = len(official["emb.weight"])
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": vocab_size}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder


def test_the_same_model_as_the_official_file(fla_folder: Path, rwkv_folder: FolderOf) -> None:
    expected = read_pth(rwkv_folder("rwkv7") / "official.pth")
    found = read_fla(fla_folder)
    assert found.options == {**expected.options, "norm_eps": 1e-5, "group_norm_eps": 64e-5}
    assert found.weights.keys() == expected.weights.keys()
    assert all(torch.equal(found.weights[name], expected.weights[name]) for name in found.weights)


def test_import(fla_folder: Path, rwkv_folder: FolderOf, workspace: Workspace) -> None:
    (fla_folder / "LICENSE").write_text("terms")
    (fla_folder / "modeling_rwkv7.py").write_text("raise SystemExit('run')")
    made = import_model(str(fla_folder), "goose", workspace, "Apache-2.0")
    names = {path.name for path in made.folder.iterdir()}
    assert "LICENSE" in names and "modeling_rwkv7.py" not in names
    before = load_file(rwkv_folder("rwkv7") / "model.safetensors")
    after = load_file(made.folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    config = json.loads((made.folder / "config.json").read_text())
    assert config["value_rank"] == 16 and config["eos_token_id"] == 2 and "auto_map" not in config
    assert made.manifest.details["parameters"] == sum(t.numel() for t in before.values())


def test_our_own_folders_are_not_of_this_layout(rwkv_folder: FolderOf, fla_folder: Path) -> None:
    assert is_fla(fla_folder) and not is_fla(rwkv_folder("rwkv7"))
    (fla_folder / "config.json").write_text("[]")
    assert not is_fla(fla_folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_act", "relu"), ("norm_first", False), ("attn", {"layers": [1], "num_heads": 2})],
)
def test_variants_are_refused(fla_folder: Path, field: str, value: Any) -> None:
    path = fla_folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(FormatError, match="is not supported") as caught:
        read_fla(fla_folder)
    assert field in caught.value.where


def test_unknown_tensors_are_refused(fla_folder: Path) -> None:
    tensors = load_file(fla_folder / "model.safetensors")
    tensors["model.layers.0.mlp.up"] = torch.ones(3)
    save_file(tensors, fla_folder / "model.safetensors")
    with pytest.raises(FormatError, match="no such tensor"):
        read_fla(fla_folder)


def test_a_low_rank_pair_that_was_not_turned(fla_folder: Path) -> None:
    name = "model.layers.1.attn.w_lora.lora.0.weight"
    tensors = load_file(fla_folder / "model.safetensors")
    tensors[name] = tensors[name].t().contiguous()
    save_file(tensors, fla_folder / "model.safetensors")
    with pytest.raises(FormatError, match="wrong way round"):
        read_fla(fla_folder)
