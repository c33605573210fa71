"""Official `.pth` files come and go without a number changing, and others read what we write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kajiya.core.errors import FormatError
from kajiya.models.formats.rwkv.checkpoint import read_folder, write_folder
from kajiya.models.formats.rwkv.pth import read_pth, write_pth
from support.rwkv_folders import RANKS, SIZES, make_rwkv
from support.rwkv_package import Reference

FolderOf = Callable[[str], Path]
PROMPT = [(7 * i * i + 3) % 300 for i in range(50)]
KINDS = ("rwkv7", "rwkv6")


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(rwkv_folder: FolderOf, kind: str, tmp_path: Path) -> None:
    source = rwkv_folder(kind)
    write_folder(read_pth(source / "official.pth"), tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (source, tmp_path))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) and tensor.dtype == after[name].dtype
    config = json.loads((tmp_path / "config.json").read_text())
    assert {**SIZES, **RANKS[kind], "model_type": kind}.items() <= config.items()
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(model).__name__ == config["architectures"][0]
    assert model.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_the_rwkv_package_reads_what_we_write(
    rwkv_folder: FolderOf, kind: str, tmp_path: Path
) -> None:
    ours = AutoModelForCausalLM.from_pretrained(rwkv_folder(kind), dtype=torch.float32)
    with torch.no_grad():
        logits = ours(torch.tensor([PROMPT])).logits[0]
    ours.save_pretrained(tmp_path)  # in 32 bits: the package works in the file's for a part
    write_pth(tmp_path, tmp_path / "official.pth")
    theirs = Reference(tmp_path / "official.pth", int(kind[-1])).logits(PROMPT)
    assert float((logits - theirs).abs().max() / theirs.abs().max()) < 1e-4


def test_names_and_shapes_are_the_official_ones(rwkv_folder: FolderOf) -> None:
    tensors = torch.load(rwkv_folder("rwkv7") / "official.pth", weights_only=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected: dict[str, tuple[int, ...]] = {
        "blocks.0.att.v0": (1, 1, 128),  # never used, and expected by readers
        "blocks.0.att.v1": (128, 16),
        "blocks.0.att.v2": (16, 128),
        "blocks.2.att.x_g": (1, 1, 128),
        "blocks.2.att.w1": (128, 24),
        "blocks.2.att.g2": (56, 128),
        "blocks.2.att.r_k": (2, 64),
        "blocks.2.ffn.key.weight": (320, 128),
        "blocks.0.ln0.bias": (128,),
        "head.weight": shapes["emb.weight"],
    }
    assert expected.items() <= shapes.items()
    assert "blocks.1.ln0.weight" not in shapes


def test_vectors_may_lack_their_sizes_of_one(damaged: Callable[..., Path]) -> None:
    def squeeze(tensors: dict[str, Any]) -> None:
        for name in ("blocks.0.att.x_r", "blocks.1.att.w0", "blocks.2.ffn.x_k"):
            tensors[name] = tensors[name].squeeze()

    weights = read_pth(damaged(squeeze)).weights
    assert weights["blocks.1.att.w0"].shape == (1, 1, 128)


def test_a_matrix_saved_as_a_view_is_as_good(damaged: Callable[..., Path]) -> None:
    name = "blocks.0.att.w1"
    expected = {}

    def view(tensors: dict[str, Any]) -> None:
        expected["w1"] = tensors[name].clone()
        tensors[name] = tensors[name].t().contiguous().t()

    assert torch.equal(read_pth(damaged(view)).weights[name], expected["w1"])


def test_files_from_before_zip_archives(rwkv_folder: FolderOf, tmp_path: Path) -> None:
    tensors = torch.load(rwkv_folder("rwkv6") / "official.pth", weights_only=True)
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_pth(tmp_path / "old.pth").options["shift_rank"] == 24


def test_one_layer_is_enough(tmp_path: Path) -> None:
    folder = make_rwkv(tmp_path / "model", num_hidden_layers=1)
    write_pth(folder, tmp_path / "one.pth")
    checkpoint = read_pth(tmp_path / "one.pth")
    assert "value_rank" not in checkpoint.options
    target = tmp_path / "again"
    target.mkdir()
    write_folder(checkpoint, target)
    assert AutoModelForCausalLM.from_pretrained(target).config.num_hidden_layers == 1


def test_a_configuration_that_contradicts_its_weights(
    rwkv_folder: FolderOf, tmp_path: Path
) -> None:
    checkpoint = read_folder(rwkv_folder("rwkv7"))
    write_folder(checkpoint, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"decay_rank": 24', '"decay_rank": 32'))
    with pytest.raises(FormatError, match="it says 32, the weights say 24") as caught:
        read_folder(tmp_path)
    assert "decay_rank" in caught.value.where


def test_another_family_has_no_pth(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(FormatError, match="not an RWKV model"):
        write_pth(tmp_path, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
