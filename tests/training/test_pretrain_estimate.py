from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import ResourceError
from kajiya.core.hardware import GIB, Hardware
from kajiya.training.estimate import Shape
from kajiya.training.pretrain_config import PretrainConfig
from kajiya.training.pretrain_estimate import estimate_pretraining, remember_pretraining

HARDWARE = Hardware("cpu", 2, 8 * GIB, 8 * GIB, 100 * GIB, bf16=True, gpus=())
SHAPE = Shape(layers=8, width=256, inner=720, query=256, key_value=256, vocabulary=8192)


def test_it_follows_the_tokens_and_the_text(tmp_path: Path) -> None:
    whole = estimate_pretraining(SHAPE, 1_000_000, 3, PretrainConfig(), HARDWARE, tmp_path)
    part = estimate_pretraining(
        SHAPE, 1_000_000, 3, PretrainConfig(tokens=500_000), HARDWARE, tmp_path
    )
    assert whole.tokens >= 1_000_000 > part.tokens >= 500_000
    step = PretrainConfig().context * PretrainConfig().batch_rows
    assert whole.tokens == whole.steps * step
    assert whole.seconds / part.seconds == pytest.approx(whole.steps / part.steps)
    assert whole.trainable == SHAPE.body + 2 * SHAPE.embedding


def test_what_this_machine_achieved_is_used_next_time(tmp_path: Path) -> None:
    config = PretrainConfig(tokens=100_000)
    first = estimate_pretraining(SHAPE, 0, 0, config, HARDWARE, tmp_path)
    assert not first.calibrated
    remember_pretraining(tmp_path, HARDWARE, config, first.operations, 77.0)
    second = estimate_pretraining(SHAPE, 0, 0, config, HARDWARE, tmp_path)
    assert second.calibrated
    assert second.seconds == pytest.approx(77.0)
    narrow = PretrainConfig(tokens=100_000, precision="fp32")
    assert not estimate_pretraining(SHAPE, 0, 0, narrow, HARDWARE, tmp_path).calibrated


def test_memory_follows_rows_and_parts(tmp_path: Path) -> None:
    def memory(**options: int) -> int:
        config = PretrainConfig(**options)  # type: ignore[arg-type]
        return estimate_pretraining(SHAPE, 1000, 1, config, HARDWARE, tmp_path).memory

    assert memory(batch_rows=64) > memory(batch_rows=16) > memory(batch_rows=16, accumulation=4)
    huge = PretrainConfig(batch_rows=4096)
    with pytest.raises(ResourceError):
        estimate_pretraining(SHAPE, 1000, 1, huge, HARDWARE, tmp_path).check(HARDWARE)
