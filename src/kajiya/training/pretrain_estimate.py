"""What a pretraining will need, before it starts: memory, time, disk. Never imports torch.

Work is counted as in `estimate`; here the gradients of all weights are made too.
"""

from __future__ import annotations

import json
from pathlib import Path

from kajiya.core.files import write_json
from kajiya.core.hardware import GIB, Hardware
from kajiya.training.estimate import Estimate, Shape
from kajiya.training.pretrain_config import PretrainConfig

_PROGRAM = 0.8 * GIB  # interpreter and libraries, measured
_KEPT_FREE = 1.2  # resident memory over what is in use, measured
_FULL = 16  # bytes a weight: fp32 itself, its gradient, AdamW's two moments
_HEAD_CHUNK = 1024  # positions whose logits exist at the same time
_LOGITS = 10  # bytes a logit: bf16, then fp32, its probability, the gradient
# Floating-point operations a second, cautious; on a CPU by core.
_GUESS = {"gpu": 60e12, "bf16": 60e9, "fp32": 15e9}


def estimate_pretraining(
    shape: Shape,
    tokens: int,
    documents: int,
    config: PretrainConfig,
    hardware: Hardware,
    cache: Path,
) -> Estimate:
    """Estimate training a model of this `shape` on text of about this many `tokens`.

    `cache` is where `remember_pretraining` has noted what this machine achieved.
    """
    wanted = config.tokens or tokens
    step = config.context * config.batch_rows
    steps = max(1, -(-wanted // step))
    weights = shape.body + 2 * shape.embedding
    # Forward, gradients of activations, gradients of weights: a product each; then the evaluations.
    operations = 6.0 * steps * step * (shape.work + shape.embedding)
    speed, calibrated = _speed(hardware, config, cache)
    precision = _precision(hardware, config)
    size = 4 if precision == "fp32" else 2
    rows = -(-config.batch_rows // config.accumulation)
    memory = _PROGRAM + weights * (_FULL if precision == "fp32" else _FULL + 4)
    memory += size * rows * config.context * shape.kept_per_token()
    memory += _LOGITS * _HEAD_CHUNK * shape.vocabulary + 4 * shape.embedding
    return Estimate(
        rows=documents,
        tokens=steps * step,
        labels=steps * step,
        steps=steps,
        trainable=weights,
        memory=int(_KEPT_FREE * memory),
        seconds=operations / speed,
        disk=int(3 * 12 * weights + 2 * tokens + GIB // 4),
        operations=operations,
        calibrated=calibrated,
    )


def remember_pretraining(
    cache: Path, hardware: Hardware, config: PretrainConfig, operations: float, seconds: float
) -> None:
    """Note what this machine achieved, for the next estimate."""
    if seconds <= 0:
        return
    path = cache / "speed.json"
    write_json(path, _known(path) | {_key(hardware, config): operations / seconds})


def _precision(hardware: Hardware, config: PretrainConfig) -> str:
    if config.precision != "auto":
        return config.precision
    return "bf16" if hardware.gpus or hardware.bf16 else "fp32"


def _key(hardware: Hardware, config: PretrainConfig) -> str:
    return f"pretrain-{_precision(hardware, config)}"


def _known(path: Path) -> dict[str, float]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _speed(hardware: Hardware, config: PretrainConfig, cache: Path) -> tuple[float, bool]:
    """Operations a second, and whether they were measured here."""
    known = _known(cache / "speed.json").get(_key(hardware, config))
    if isinstance(known, int | float) and known > 0:
        return float(known), True
    if hardware.gpus:
        return _GUESS["gpu"], False
    fast = _precision(hardware, config) == "bf16" and hardware.bf16
    return _GUESS["bf16" if fast else "fp32"] * hardware.cores, False
