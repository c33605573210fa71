"""How an RWKV-7 starts, at which rates it learns, and the presets."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from kajiya.core.errors import ConfigError
from kajiya.models.rwkv7 import PRESETS, Rwkv7Config, Rwkv7ForCausalLM, preset
from kajiya.models.rwkv7.initialise import parameter_groups

LAYERS, WIDTH, VOCABULARY = 3, 128, 300


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = Rwkv7Config(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS)
    return Rwkv7ForCausalLM(config)


def test_starts_as_the_reference_does(model: Any) -> None:
    model = copy.deepcopy(model).requires_grad_(False)
    for layer, block in enumerate(model.model.blocks):
        att, rho = block.att, 1 - layer / LAYERS
        i = torch.arange(WIDTH) / WIDTH
        assert torch.allclose(att.x_r.flatten(), 1 - i ** (0.2 * rho))
        assert torch.allclose(att.x_a.flatten(), 1 - i ** (0.9 * rho))
        assert torch.allclose(att.x_v.flatten(), 1 - i ** (0.7 * rho))
        assert torch.allclose(block.ffn.x_k.flatten(), 1 - i ** (rho**4))
        # The ends of both ramps: −6 + 0.5 − 2.5, and 0 + 0.5 + 2.5.
        assert att.w0.flatten()[[0, -1]].tolist() == pytest.approx([-8.0, 3.0])
        assert att.a0.flatten()[[0, -1]].tolist() == pytest.approx([-0.69, 0.31])
        assert att.k_k.flatten()[[0, -1]].tolist() == pytest.approx([0.76, 0.66])
        assert float(att.k_a.min()) == float(att.k_a.max()) == pytest.approx(1.02)
        assert float(att.r_k.mean()) == pytest.approx(-0.04)
        assert float(att.ln_x.weight.mean()) == pytest.approx(((layer + 1) / LAYERS) ** 0.7)
        for zero in (att.w1, att.a1, att.g1, att.output.weight, block.ffn.value.weight):
            assert not zero.any()
        assert torch.allclose(att.g2 @ att.g2.T, 0.01 * torch.eye(len(att.g2)), atol=1e-6)
        key = att.key.weight
        assert torch.allclose(key @ key.T, 0.01 * torch.eye(WIDTH), atol=1e-6)
    assert not hasattr(model.model.blocks[0].att, "v0")
    v0 = model.model.blocks[1].att.v0.flatten()
    assert v0[[0, -1]].tolist() == pytest.approx([0.93, 0.53])
    assert float(model.model.emb.weight.abs().max()) <= 1e-4
    head = model.head.weight
    assert torch.allclose(head.T @ head, 0.25 * VOCABULARY / WIDTH * torch.eye(WIDTH), atol=1e-5)


def test_a_single_layer_starts_too() -> None:
    config = Rwkv7Config(vocab_size=8, hidden_size=64, num_hidden_layers=1)
    assert all(bool(p.isfinite().all()) for p in Rwkv7ForCausalLM(config).parameters())


def test_loading_leaves_nothing_to_chance(model: Any, tmp_path: Any) -> None:
    with torch.no_grad():
        model.model.blocks[1].att.w1.fill_(0.5)
    model.save_pretrained(tmp_path)
    loaded = Rwkv7ForCausalLM.from_pretrained(tmp_path)
    for (name, a), b in zip(model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a, b), name
    with torch.no_grad():
        model.model.blocks[1].att.w1.zero_()


def test_groups_by_rate_and_decay(model: Any) -> None:
    groups = parameter_groups(model, 1e-3, 0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        (group["lr"], group["scale"], group["weight_decay"]): {
            names[id(p)] for p in group["params"]
        }
        for group in groups
    }
    assert set(found) == {(1e-3, 1.0, 0.1), (1e-3, 1.0, 0.0), (2e-3, 2.0, 0.0)}
    assert found[2e-3, 2.0, 0.0] == {f"model.blocks.{i}.att.w0" for i in range(LAYERS)}
    decayed = found[1e-3, 1.0, 0.1]
    assert {"model.emb.weight", "head.weight", "model.blocks.0.ffn.key.weight"} <= decayed
    assert not any(name.endswith(("w1", "w2", "ln1.weight", "ln_x.weight")) for name in decayed)
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_frozen_parameters_are_in_no_group(model: Any) -> None:
    model.head.weight.requires_grad_(False)
    groups = parameter_groups(model, 1e-3, 0.1)
    assert not any(p is model.head.weight for group in groups for p in group["params"])
    model.head.weight.requires_grad_(True)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("0.1B", 191034624), ("0.4B", 450767872), ("1.5B", 1527404544), ("3B", 2947735040)],
)
def test_world_presets_have_the_released_models_sizes(size: str, parameters: int) -> None:
    with torch.device("meta"):
        model = Rwkv7ForCausalLM(preset(size, 65536))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_small_presets_count_their_bodies() -> None:
    for size, millions in {"4M": 4.0, "25M": 25.0}.items():
        with torch.device("meta"):
            blocks = Rwkv7ForCausalLM(preset(size, 1000)).model.blocks
        assert sum(p.numel() for p in blocks.parameters()) / 1e6 == pytest.approx(millions, rel=0.1)


def test_an_unknown_size_names_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        preset("2B", 1000)
    assert all(size in caught.value.fix for size in PRESETS)
