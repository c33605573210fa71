"""The options of a search for a mixture."""

from __future__ import annotations

from typing import Literal

from kajiya.core.config import Config, option


class MixtureSearchConfig(Config):
    """The small models, and how many of them."""

    runs: int = option(
        32,
        en="Runs",
        ja="試行の回数",
        ge=4,
        le=10_000,
        help=("Mixtures to train a small model on", "小さなモデルを学習してみる配合の数"),
    )
    tokens: int = option(
        300_000,
        en="Tokens a run",
        ja="1回のトークン数",
        ge=1000,
        help=("More of them, and the order of the mixtures is surer", "多いほど順位が確かになる"),
    )
    arch: Literal["rwkv7", "llama"] = option("rwkv7", en="Architecture", ja="構造")
    size: str = option(
        "2x128", en="Size", ja="大きさ", help=("LAYERSxWIDTH of the small models", "層数x幅")
    )
    context: int = option(256, en="Context", ja="文脈の長さ", ge=16, le=1_000_000)
    learning_rate: float = option(3e-3, en="Learning rate", ja="学習率", gt=0, le=1)
    seed: int = option(0, en="Seed", ja="乱数の種", ge=0, le=2**32 - 1)
