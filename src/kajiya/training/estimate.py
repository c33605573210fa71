"""What a tuning will need, before it starts: memory, time, disk. Never imports torch.

Work is counted exactly (matrix products a token, a label); speed is this machine's own once it has
trained anything, and a cautious guess before. Memory follows what the loop keeps alive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
# RWKV's model types, and how many of a layer's matrices are as wide as the model in both directions.
_RWKV = {"rwkv6": 6, "rwkv7": 4}
_RANKS = {"decay_rank", "rate_rank", "value_rank", "gate_rank", "shift_rank"}
_RECURRENCE = 6  # products of a head's size a channel and token in the chunked form
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
    kind: ClassVar[str] = "transformer"

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """From a model folder's `config.json`."""
        return cls.of(json.loads((folder / "config.json").read_text(encoding="utf-8")))

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From the values of a `config.json`."""
        if config["model_type"] in _RWKV:
            return RwkvShape.from_config(config)
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
    def linear(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of a layer's matrices: q, o, k, v, gate, up, down."""
        w, q, kv, f = self.width, self.query, self.key_value, self.inner
        return (w, q), (q, w), (w, kv), (w, kv), (w, f), (w, f), (f, w)

    @property
    def body(self) -> int:
        """Parameters of all layers' matrices."""
        return self.layers * sum(i * o for i, o in self.linear)

    @property
    def work(self) -> int:
        """Multiplications a token in the forward pass, attention left out."""
        return self.body

    @property
    def state(self) -> int:
        """Parameters of a learnt initial state; a Transformer has none."""
        return 0

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """About how many the model has; what is smaller than a matrix is left out."""
        return self.body + self.embedding

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA on every linear layer."""
        return self.layers * rank * sum(i + o for i, o in self.linear)

    def trainable(self, config: TuneConfig) -> int:
        """Parameters that `config` trains."""
        lora = self.adapter(config.rank) if config.tunes_lora else 0
        return lora + (self.state if config.tunes_state else 0)

    def kept_per_token(self) -> int:
        """Numbers of activations a token that the backward pass needs, over all layers."""
        return self.layers * (
            14 * self.width + 3 * self.query + 4 * self.key_value + 5 * self.inner
        )


@dataclass(frozen=True)
class RwkvShape(Shape):
    """The numbers of an RWKV model. `square` counts a layer's matrices `[width, width]`."""

    kind: ClassVar[str] = "rwkv"
    head: int = 64
    square: int = 4
    ranks: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RwkvShape:
        """From the values of an RWKV model's `config.json`."""
        width = config["hidden_size"]
        # RWKV-6 mixes five inputs with a low-rank pair each, all of one size.
        ranks = sum(
            config[name] * (5 if name == "shift_rank" else 1) for name in _RANKS & config.keys()
        )
        return cls(
            layers=config["num_hidden_layers"],
            width=width,
            inner=config["intermediate_size"],
            query=width,
            key_value=width,
            vocabulary=config["vocab_size"],
            head=config["head_size"],
            square=_RWKV[config["model_type"]],
            ranks=ranks,
        )

    @property
    def linear(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of a layer's linear layers; the low-rank factors are no layers of their own."""
        w, f = self.width, self.inner
        return (*[(w, w)] * self.square, (w, f), (f, w))

    @property
    def body(self) -> int:
        """Parameters of all layers' matrices, low-rank factors among them."""
        return super().body + self.layers * 2 * self.ranks * self.width

    @property
    def parameters(self) -> int:
        """About how many; the output matrix is not the embedding's."""
        return super().parameters + self.embedding

    @property
    def work(self) -> int:
        """The matrices, and the recurrence as if it were some more of them."""
        return self.body + self.layers * _RECURRENCE * self.head * self.width

    @property
    def state(self) -> int:
        """`[heads, head, head]` in every layer."""
        return self.layers * self.width * self.head

    def kept_per_token(self) -> int:
        """Numbers of activations a token; the mixed inputs and the recurrence's six inputs weigh most."""
        return self.layers * (40 * self.width + 3 * self.inner + 2 * self.ranks)


@dataclass(frozen=True)
class Sizes:
    """What the rows that fit come to: their number, tokens, labels, and the longest in tokens."""

    rows: int
    tokens: int
    labels: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], labels: Sequence[int], max_tokens: int) -> Sizes:
        """Of rows of these token `lengths` with these numbers of `labels`; longer ones are left out."""
        fits = [(n, m) for n, m in zip(lengths, labels, strict=True) if n <= max_tokens]
        return cls(
            rows=len(fits),
            tokens=sum(n for n, _ in fits),
            labels=sum(m for _, m in fits),
            longest=max((n for n, _ in fits), default=0),
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

    def check(self, hardware: Hardware, option: str = "--batch-tokens") -> None:
        """Raise `ResourceError` if the machine has too little memory or disk for it.

        `option` is the one that makes a step smaller.
        """
        room = max((gpu.memory for gpu in hardware.gpus), default=hardware.memory_available)
        if self.memory > room:
            raise ResourceError(
                tr(
                    f"about {self.memory / GIB:.1f} GB of memory is needed, {room / GIB:.1f} GB is free",
                    f"メモリが約 {self.memory / GIB:.1f} GB 必要ですが、空きは {room / GIB:.1f} GB です",
                ),
                fix=tr(
                    f"choose a smaller model, or fewer tokens per step ({option})",
                    f"小さいモデルを選ぶか、1ステップのトークン数 ({option}) を減らしてください",
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
    shape: Shape, sizes: Sizes, config: TuneConfig, hardware: Hardware, cache: Path
) -> Estimate:
    """Estimate a tuning on rows of these `sizes`.

    `cache` is where `remember_speed` has noted what this machine achieved.
    """
    question = 1 - sizes.labels / max(1, sizes.tokens)
    # Dropout takes half of its share on average, and nothing in the last epoch.
    dropped = question * config.question_dropout / 2 * (config.epochs - 1)
    tokens = round(sizes.tokens * (config.epochs - dropped))
    label_count = sizes.labels * config.epochs
    # Forward and backward through frozen weights: two products each; the adapter's own are small.
    trainable = shape.trainable(config)
    lora = shape.adapter(config.rank) if config.tunes_lora else 0
    operations = tokens * (4 * shape.work + 6 * lora)
    operations += label_count * 4 * shape.embedding
    speed, calibrated = _speed(shape.kind, hardware, config, cache)
    batch = max(config.batch_tokens, sizes.longest)
    size = 4 if _precision(hardware, config) == "fp32" else 2
    memory = _PROGRAM + size * (shape.body + shape.embedding)
    memory += 16 * trainable
    memory += size * batch * shape.kept_per_token() + 3 * size * _HEAD_CHUNK * shape.vocabulary
    return Estimate(
        rows=sizes.rows,
        tokens=tokens,
        labels=label_count,
        steps=max(1, round(tokens / config.batch_tokens / config.accumulation * 1.1)),
        trainable=trainable,
        memory=int(_KEPT_FREE * memory),
        seconds=operations / speed,
        disk=int(60 * trainable + GIB // 4),
        operations=operations,
        calibrated=calibrated,
    )


def _precision(hardware: Hardware, config: TuneConfig) -> str:
    if config.precision != "auto":
        return config.precision
    return "bf16" if hardware.gpus or hardware.bf16 else "fp32"


def _speed_key(kind: str, precision: str) -> str:
    return precision if kind == Shape.kind else f"{kind}-{precision}"


def _speed(kind: str, hardware: Hardware, config: TuneConfig, cache: Path) -> tuple[float, bool]:
    """Operations a second, and whether they were measured here."""
    precision = _precision(hardware, config)
    try:
        known = json.loads((cache / "speed.json").read_text(encoding="utf-8"))
        return float(known[_speed_key(kind, precision)]), True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if hardware.gpus:
        return _GUESS["gpu"], False
    fast = precision == "bf16" and hardware.bf16
    return _GUESS["bf16" if fast else "fp32"] * hardware.cores, False


def remember_speed(
    cache: Path,
    hardware: Hardware,
    config: TuneConfig,
    operations: float,
    seconds: float,
    kind: str = Shape.kind,
) -> None:
    """Note what this machine achieved with a `kind` of model, for the next estimate."""
    if seconds <= 0:
        return
    path = cache / "speed.json"
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    known[_speed_key(kind, _precision(hardware, config))] = operations / seconds
    write_json(path, known)
