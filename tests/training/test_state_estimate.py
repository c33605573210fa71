"""What tuning an RWKV model will need is counted from its configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from kajiya.core.hardware import GIB, Hardware
from kajiya.training.adapters.kinds import add_adapter
from kajiya.training.config import TuneConfig
from kajiya.training.estimate import Shape, Sizes, estimate, remember_speed
from support.recurrent import tiny_rwkv
from support.tuning import VOCABULARY

MACHINE = Hardware("test", 2, 16 * GIB, 8 * GIB, 100 * GIB, True, ())
SIZES = Sizes.of([100] * 50, [40] * 50, 1024)


def shape_of(family: str, folder: Path) -> Shape:
    values = tiny_rwkv(family).config.to_dict()
    (folder / "config.json").write_text(json.dumps(values))
    return Shape.read(folder)


@pytest.mark.parametrize("family", ["rwkv7", "rwkv6"])
@pytest.mark.parametrize("method", ["state", "lora", "lora+state"])
def test_parameters_are_those_of_the_real_model(tmp_path: Path, family: str, method: str) -> None:
    shape = shape_of(family, tmp_path)
    model = tiny_rwkv(family)
    linear = [m for m in model.model.blocks.modules() if isinstance(m, nn.Linear)]
    assert shape.layers * sum(i * o for i, o in shape.linear) == sum(
        layer.weight.numel() for layer in linear
    )
    matrices = [p for p in model.model.blocks.parameters() if p.ndim > 1 and p.numel() > 10 * 32]
    # Layer 0 of RWKV-7 has no value pair.
    assert shape.body == pytest.approx(sum(p.numel() for p in matrices), rel=0.06)
    assert shape.embedding == VOCABULARY * 32
    config = TuneConfig.checked({"method": method, "rank": 4})
    tuned = add_adapter(model, config)
    assert shape.trainable(config) == sum(p.numel() for p in tuned.parameters() if p.requires_grad)


def test_a_state_costs_less_than_a_lora(tmp_path: Path) -> None:
    shape = shape_of("rwkv7", tmp_path)
    found = {
        method: estimate(shape, SIZES, TuneConfig.checked({"method": method}), MACHINE, tmp_path)
        for method in ("state", "lora+state")
    }
    assert found["state"].trainable < found["lora+state"].trainable
    assert found["state"].operations < found["lora+state"].operations
    assert found["state"].memory < found["lora+state"].memory


def test_speeds_of_both_kinds_are_kept_apart(tmp_path: Path) -> None:
    config = TuneConfig(precision="bf16")
    remember_speed(tmp_path, MACHINE, config, 1e12, 10, "rwkv")
    remember_speed(tmp_path, MACHINE, config, 9e12, 10)
    shape = shape_of("rwkv7", tmp_path)
    found = estimate(shape, SIZES, config, MACHINE, tmp_path)
    assert found.calibrated
    assert found.seconds == pytest.approx(found.operations / 1e11)
