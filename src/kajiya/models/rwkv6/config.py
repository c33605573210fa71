"""The configuration of an RWKV-6 model."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr

_LARGE = 4096  # the width from which the released models have low-rank pairs twice as large


class Rwkv6Config(PreTrainedConfig):  # type: ignore[misc]
    """Shapes of an RWKV-6 model; sizes left at 0 get those of the released models.

    `shift_rank` and `decay_rank` are the inner sizes of the low-rank pairs of the token shift and of
    the decay.
    """

    model_type = "rwkv6"

    vocab_size: int = 65536
    hidden_size: int = 2048
    num_hidden_layers: int = 24
    head_size: int = 64
    intermediate_size: int = 0
    shift_rank: int = 0
    decay_rank: int = 0
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
        self.intermediate_size = self.intermediate_size or width * 7 // 2 // 32 * 32
        self.shift_rank = self.shift_rank or (64 if width >= _LARGE else 32)
        self.decay_rank = self.decay_rank or (128 if width >= _LARGE else 64)
        super().__post_init__(**kwargs)

    @property
    def num_heads(self) -> int:
        """Heads of the time mix."""
        return self.hidden_size // self.head_size
