"""Counts are exact, and a machine that is too small is told so beforehand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from torch import nn

from kajiya.core.errors import ResourceError
from kajiya.core.hardware import GIB, Gpu, Hardware
from kajiya.training.adapters.lora import add_lora
from kajiya.training.config import TuneConfig
from kajiya.training.estimate import Estimate, Shape, Sizes, estimate, remember_speed
from support.tiny_models import tiny_config, tiny_torch_model

MACHINE = Hardware("test", 2, 16 * GIB, 8 * GIB, 100 * GIB, True, ())
SHAPE = Shape(layers=18, width=640, inner=2048, query=1024, key_value=256, vocabulary=262144)


def plan(cache: Path, hardware: Hardware = MACHINE, **options: object) -> Estimate:
    sizes = Sizes.of([100] * 50, [40] * 50, 1024)
    return estimate(SHAPE, sizes, TuneConfig.checked(options), hardware, cache)


@pytest.mark.parametrize("family", ["llama", "gemma", "gemma2", "gemma3"])
@pytest.mark.parametrize("rank", [1, 8])
def test_parameters_are_those_of_the_real_model(tmp_path: Path, family: str, rank: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny_config(family, 96).to_dict()))
    shape = Shape.read(tmp_path)
    model = tiny_torch_model(family, 96)
    linear = [m for m in model.model.layers.modules() if isinstance(m, nn.Linear)]
    assert shape.body == sum(layer.weight.numel() for layer in linear)
    assert shape.embedding == model.get_input_embeddings().weight.numel()
    tuned = add_lora(model, TuneConfig(rank=rank))
    assert shape.adapter(rank) == sum(p.numel() for p in tuned.parameters() if p.requires_grad)


def test_a_configuration_without_head_dim(tmp_path: Path) -> None:
    values = tiny_config("llama", 96).to_dict()
    del values["head_dim"], values["num_key_value_heads"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert (Shape.read(tmp_path).query, Shape.read(tmp_path).key_value) == (64, 64)


def test_rows_that_are_too_long_do_not_count(tmp_path: Path) -> None:
    config = TuneConfig(max_tokens=64, question_dropout=0, epochs=3)
    sizes = Sizes.of([10, 64, 65], [5, 9, 60], config.max_tokens)
    assert sizes.longest == 64
    found = estimate(SHAPE, sizes, config, MACHINE, tmp_path)
    assert (found.rows, found.tokens, found.labels) == (2, 3 * 74, 3 * 14)


def test_dropout_takes_half_its_share_of_questions_but_in_the_last_epoch(tmp_path: Path) -> None:
    config = TuneConfig(max_tokens=64, question_dropout=0.8, epochs=3)
    found = estimate(SHAPE, Sizes.of([50, 50], [30, 30], 64), config, MACHINE, tmp_path)
    assert found.tokens == 2 * (3 * 30 + 20 + 2 * 0.6 * 20)


def test_more_work_costs_more(tmp_path: Path) -> None:
    less, more = (plan(tmp_path, epochs=n, question_dropout=0) for n in (2, 4))
    assert more.seconds == pytest.approx(2 * less.seconds)
    assert plan(tmp_path, rank=64).memory > less.memory
    assert plan(tmp_path, batch_tokens=4096).memory > less.memory
    assert plan(tmp_path, precision="fp32").memory > plan(tmp_path, precision="bf16").memory


def test_what_the_machine_achieved_is_used_next_time(tmp_path: Path) -> None:
    config = TuneConfig(precision="bf16")
    first = plan(tmp_path, precision="bf16")
    assert not first.calibrated
    remember_speed(tmp_path, MACHINE, config, first.operations, 100.0)
    second = plan(tmp_path, precision="bf16")
    assert second.calibrated and second.seconds == pytest.approx(100.0)
    assert not plan(tmp_path, precision="fp32").calibrated
    (tmp_path / "speed.json").write_text("garbage")
    assert not plan(tmp_path, precision="bf16").calibrated


def test_a_machine_that_is_too_small(tmp_path: Path) -> None:
    found = plan(tmp_path)
    found.check(MACHINE)
    with pytest.raises(ResourceError, match=r"memory is needed, 0\.5 GB is free") as caught:
        found.check(dataclasses.replace(MACHINE, memory_available=GIB // 2))
    assert "--batch-tokens" in caught.value.fix
    with pytest.raises(ResourceError, match="disk is needed"):
        found.check(dataclasses.replace(MACHINE, disk_free=1000))
    small_gpu = dataclasses.replace(MACHINE, gpus=(Gpu("small", GIB // 4),))
    with pytest.raises(ResourceError, match="memory is needed"):
        found.check(small_gpu)
