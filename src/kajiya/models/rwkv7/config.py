"""The configuration of an RWKV-7 model, and presets by size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr

HEAD_SIZE = 64


def default_rank(factor: float, width: int) -> int:
    """The reference's size of a low-rank pair: factor · √width to a multiple of 32, at least 32."""
    return max(32, round(factor * math.sqrt(width) / 32) * 32)


class Rwkv7Config(PreTrainedConfig):  # type: ignore[misc]
    """Shapes of an RWKV-7 model; the ranks left at 0 get the reference's sizes.

    `decay_rank`, `rate_rank`, `value_rank` and `gate_rank` are the inner sizes of the low-rank pairs of
    w, a, v and g. Released models differ in them, so they are always written into the file.
    """

    model_type = "rwkv7"

    vocab_size: int = 65536
    hidden_size: int = 768
    num_hidden_layers: int = 12
    head_size: int = HEAD_SIZE
    intermediate_size: int = 0
    decay_rank: int = 0
    rate_rank: int = 0
    value_rank: int = 0
    gate_rank: int = 0
    norm_eps: float = 1e-5
    group_norm_eps: float = 64e-5
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 0
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = False
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        width = self.hidden_size
        if width % self.head_size:
            raise ConfigError(
                tr(
                    f"width {width} is not a multiple of the head size {self.head_size}",
                    f"幅 {width} がヘッドの大きさ {self.head_size} の倍数ではありません",
                ),
                where="hidden_size",
            )
        self.intermediate_size = self.intermediate_size or 4 * width
        self.decay_rank = self.decay_rank or default_rank(2.5, width)
        self.rate_rank = self.rate_rank or default_rank(2.5, width)
        self.value_rank = self.value_rank or default_rank(1.7, width)
        self.gate_rank = self.gate_rank or default_rank(5.0, width)
        super().__post_init__(**kwargs)

    @property
    def num_heads(self) -> int:
        """Heads of the time mix."""
        return self.hidden_size // self.head_size


@dataclass(frozen=True)
class Preset:
    """A size: layers, width and the ranks of w, a, v and g."""

    layers: int
    width: int
    ranks: tuple[int, int, int, int]


# From 0.1B on these are the released World models (whose names count 65,536 tokens in and out); 4M and
# 25M name the parameters of the body, since a model this small wants a smaller vocabulary.
PRESETS = {
    "4M": Preset(8, 192, (32, 32, 32, 64)),
    "25M": Preset(12, 384, (64, 64, 32, 96)),
    "0.1B": Preset(12, 768, (64, 64, 32, 128)),
    "0.4B": Preset(24, 1024, (64, 64, 32, 128)),
    "1.5B": Preset(24, 2048, (96, 96, 64, 256)),
    "3B": Preset(32, 2560, (96, 96, 64, 320)),
}


def preset(size: str, vocab_size: int, **more: Any) -> Rwkv7Config:
    """The configuration of a preset; `more` are further fields. Raises `ConfigError` for other sizes."""
    if size not in PRESETS:
        raise ConfigError(
            tr(f"there is no size {size!r}", f"{size!r} という大きさはありません"),
            where="size",
            fix=tr("choose one of ", "次から選んでください: ") + ", ".join(PRESETS),
        )
    chosen = PRESETS[size]
    decay, rate, value, gate = chosen.ranks
    return Rwkv7Config(
        vocab_size=vocab_size,
        hidden_size=chosen.width,
        num_hidden_layers=chosen.layers,
        decay_rank=decay,
        rate_rank=rate,
        value_rank=value,
        gate_rank=gate,
        **more,
    )
