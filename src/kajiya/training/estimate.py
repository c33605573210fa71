"""What a tuning will need, before it starts: memory, time, disk. Never imports torch.

Work is counted exactly (matrix products a token, a label); speed is this machine's own once it has
trained anything, and a cautious guess before. Memory follows what the loop keeps alive.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kajiya.core.errors import ResourceError
from kajiya.core.files import write_json
from kajiya.core.hardware import GIB, Hardware
from kajiya.core.language import tr
from kajiya.training.config import TuneConfig

_PROGRAM = 1.1 * GIB  # interpreter and libraries, measured
_KEPT_FREE = (
    1.7  # resident memory over what is in use: the allocator keeps freed tensors' memory, measured
)
_HEAD_CHUNK = 256  # labels whose logits exist at the same time
_GUESS = {
    "gpu": 20e12,
    "bf16": 85e9,
    "fp32": 15e9,
}  # floating-point operations a second; CPU: a core


@dataclass(frozen=True)
class Shape:
    """The numbers of a Transformer that decide its cost."""

    layers: int
    width: int
    inner: int
    query: int
    key_value: int
    vocabulary: int

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """From a model folder's `config.json`."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or config["hidden_size"] // heads
        return cls(
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            inner=config["intermediate_size"],
            query=heads * head,
            key_value=config.get("num_key_value_heads", heads) * head,
            vocabulary=config["vocab_size"],
        )

    @property
    def _linear(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of a layer's matrices: q, o, k, v, gate, up, down."""
        w, q, kv, f = self.width, self.query, self.key_value, self.inner
        return (w, q), (q, w), (w, kv), (w, kv), (w, f), (w, f), (f, w)

    @property
    def body(self) -> int:
        """Parameters of all layers' matrices."""
        return self.layers * sum(i * o for i, o in self._linear)

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.width

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA on every linear layer."""
        return self.layers * rank * sum(i + o for i, o in self._linear)

    def kept_per_token(self) -> int:
        """Numbers of activations a token that the backward pass needs, over all layers."""
        return self.layers * (
            14 * self.width + 3 * self.query + 4 * self.key_value + 5 * self.inner
        )


@dataclass(frozen=True)
class Estimate:
    """Bytes, seconds and counts of a tuning that has not started."""

    rows: int
    tokens: int
    labels: int
    steps: int
    trainable: int
    memory: int
    seconds: float
    disk: int
    operations: float
    calibrated: bool

    def check(self, hardware: Hardware) -> None:
        """Raise `ResourceError` if the machine has too little memory or disk for it."""
        room = max((gpu.memory for gpu in hardware.gpus), default=hardware.memory_available)
        if self.memory > room:
            raise ResourceError(
                tr(
                    f"about {self.memory / GIB:.1f} GB of memory is needed, {room / GIB:.1f} GB is free",
                    f"メモリが約 {self.memory / GIB:.1f} GB 必要ですが、空きは {room / GIB:.1f} GB です",
                ),
                fix=tr(
                    "choose a smaller model, or fewer tokens per step (--batch-tokens)",
                    "小さいモデルを選ぶか、1ステップのトークン数 (--batch-tokens) を減らしてください",
                ),
            )
        if self.disk > hardware.disk_free:
            raise ResourceError(
                tr(
                    f"about {self.disk / GIB:.1f} GB of disk is needed, {hardware.disk_free / GIB:.1f} GB is free",
                    f"ディスクが約 {self.disk / GIB:.1f} GB 必要ですが、空きは {hardware.disk_free / GIB:.1f} GB です",
                ),
                fix=tr(
                    "free some space, or move KAJIYA_HOME",
                    "空きを作るか KAJIYA_HOME を移してください",
                ),
            )


def estimate(
    shape: Shape,
    lengths: Sequence[int],
    labels: Sequence[int],
    config: TuneConfig,
    hardware: Hardware,
    cache: Path,
) -> Estimate:
    """Estimate a tuning on rows of these token `lengths` with these numbers of `labels`.

    `cache` is where `remember_speed` has noted what this machine achieved.
    """
    fits = [(n, m) for n, m in zip(lengths, labels, strict=True) if n <= config.max_tokens]
    question = 1 - sum(m for _, m in fits) / max(1, sum(n for n, _ in fits))
    # Dropout takes half of its share on average, and the share falls evenly to nothing.
    kept = 1 - question * config.question_dropout / 4
    tokens = round(sum(n for n, _ in fits) * kept) * config.epochs
    label_count = sum(m for _, m in fits) * config.epochs
    # Forward and backward through frozen weights: two products each; the adapter's own are small.
    operations = tokens * (4 * shape.body + 6 * shape.adapter(config.rank))
    operations += label_count * 4 * shape.embedding
    speed, calibrated = _speed(hardware, config, cache)
    longest = max((n for n, _ in fits), default=0)
    batch = max(config.batch_tokens, longest)
    size = 4 if _precision(hardware, config) == "fp32" else 2
    memory = _PROGRAM + size * (shape.body + shape.embedding)
    memory += 16 * shape.adapter(config.rank)
    memory += size * batch * shape.kept_per_token() + 3 * size * _HEAD_CHUNK * shape.vocabulary
    return Estimate(
        rows=len(fits),
        tokens=tokens,
        labels=label_count,
        steps=max(1, round(tokens / config.batch_tokens / config.accumulation * 1.1)),
        trainable=shape.adapter(config.rank),
        memory=int(_KEPT_FREE * memory),
        seconds=operations / speed,
        disk=int(60 * shape.adapter(config.rank) + GIB // 4),
        operations=operations,
        calibrated=calibrated,
    )


def _precision(hardware: Hardware, config: TuneConfig) -> str:
    if config.precision != "auto":
        return config.precision
    return "bf16" if hardware.gpus or hardware.bf16 else "fp32"


def _speed(hardware: Hardware, config: TuneConfig, cache: Path) -> tuple[float, bool]:
    """Operations a second, and whether they were measured here."""
    precision = _precision(hardware, config)
    try:
        known = json.loads((cache / "speed.json").read_text(encoding="utf-8"))
        return float(known[precision]), True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if hardware.gpus:
        return _GUESS["gpu"], False
    fast = precision == "bf16" and hardware.bf16
    return _GUESS["bf16" if fast else "fp32"] * hardware.cores, False


def remember_speed(
    cache: Path, hardware: Hardware, config: TuneConfig, operations: float, seconds: float
) -> None:
    """Note what this machine achieved, for the next estimate."""
    if seconds <= 0:
        return
    path = cache / "speed.json"
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    known[_precision(hardware, config)] = operations / seconds
    write_json(path, known)
