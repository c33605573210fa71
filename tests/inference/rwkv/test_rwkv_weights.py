"""Weights of 4 bits: what they are rounded to, and that products of them are exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_rwkv_engine import as_text, prompts
from torch import Tensor
from transformers import AutoModelForCausalLM

from kajiya.inference.rwkv.products import multiply, multiply_exactly
from kajiya.inference.rwkv.tiles import GROUP, GROUP_BYTES
from kajiya.inference.rwkv.weights import pack
from support.engine_answers import ask
from support.rwkv_folders import make_rwkv

ROUNDED = ("receptance", "att.key", "att.value", "output", "ffn.key", "ffn.value", "head")


def unpacked(values: Any) -> Tensor:
    """Groups of 4 bits `[rows, bytes]` as the numbers that they stand for, `[rows, columns]`."""
    groups = torch.from_numpy(values).unflatten(1, (-1, GROUP_BYTES))
    factor = groups[..., :2].contiguous().view(torch.bfloat16).float()
    low, high = groups[..., 2:] & 15, groups[..., 2:] >> 4
    return ((torch.cat([low, high], -1).float() - 8) * factor).flatten(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_rwkv(tmp_path_factory.mktemp("four"))
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_rounding_is_finer_than_by_the_largest_weight(model: Any) -> None:
    weights = pack(model, 4)
    for layer, block in enumerate(model.model.blocks):
        exact = block.ffn.key.weight.detach()
        groups = exact.unflatten(1, (-1, GROUP))
        factor = groups.abs().amax(-1, keepdim=True) / 7
        plain = ((groups / factor).round() * factor).flatten(1)
        ours = unpacked(weights.ffn_key.values[layer])
        assert (ours - exact).square().mean() < 0.9 * (plain - exact).square().mean()
        assert (ours - exact).norm() < 0.12 * exact.norm()


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 7])
def test_products_are_those_of_the_rounded_weights(model: Any, batch: int) -> None:
    matrix = pack(model, 4).ffn_value
    x = torch.randn(batch, model.config.intermediate_size, generator=torch.manual_seed(batch))
    rows = matrix.values.shape[1]
    out = np.zeros((batch, rows), np.float32)
    expected = x @ unpacked(matrix.values[1]).t()
    multiply_exactly(matrix, 1, x.numpy(), batch, out, 0, rows)
    assert torch.allclose(torch.from_numpy(out), expected, atol=1e-5)
    for member in range(3):  # with integers, where this processor has them: 13 bits of x
        multiply(matrix, 1, x.numpy(), batch, out, member, 3)
    assert torch.allclose(torch.from_numpy(out), expected, atol=1e-3)


def test_weights_that_need_no_more_than_4_bits_give_the_same_answers(
    make_engine: Any, tmp_path: Path
) -> None:
    folder = make_rwkv(tmp_path / "coarse")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(".weight") and any(part in name for part in ROUNDED):
                weight.copy_((weight / weight.std() * 3).round().clamp(-8, 7) / 32)
                weight.unflatten(1, (-1, GROUP))[..., 0] = -8 / 32
    model.save_pretrained(folder)
    engine = make_engine(folder=folder, weights="int4")
    asked = prompts(20)
    same = [ask(engine, prompt) == as_text(engine, model, prompt, 12) for prompt in asked]
    assert sum(same) >= 18  # the low-rank pairs have 8 bits
