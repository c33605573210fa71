"""The options of pretraining: what they mean, their range, and defaults that work."""

from __future__ import annotations

from typing import Literal

from kajiya.core.config import Config, option


class PretrainConfig(Config):
    """Training all weights of a model on running text."""

    tokens: int | None = option(
        None,
        en="Tokens",
        ja="学習するトークン数",
        ge=1,
        help=("Tokens to train on; all of the text once if not given", "省略時は全文を1回"),
    )
    context: int = option(
        512,
        en="Context",
        ja="文脈の長さ",
        ge=16,
        le=1_000_000,
        help=(
            "Tokens in a row; documents are laid end to end and do not see each other",
            "1行のトークン数。文書はつなげて並べるが、互いに見えない",
        ),
    )
    batch_rows: int = option(8, en="Rows per step", ja="1ステップの行数", ge=1, le=65_536)
    accumulation: int = option(
        1,
        en="Gradient accumulation",
        ja="勾配の累積",
        ge=1,
        le=1024,
        help=(
            "Parts into which a step's rows are cut, to save memory",
            "メモリを節約するため1ステップの行をいくつに分けるか",
        ),
    )
    learning_rate: float = option(
        2e-3,
        en="Learning rate",
        ja="学習率",
        gt=0,
        le=1,
        help=("Peak step size of AdamW", "AdamW の最大の歩幅"),
    )
    warmup: float = option(
        0.02,
        en="Warm-up",
        ja="ウォームアップ",
        ge=0,
        le=0.5,
        help=(
            "Share of the steps in which the learning rate rises",
            "学習率を上げていく区間の割合",
        ),
    )
    schedule: Literal["cosine", "wsd"] = option(
        "cosine",
        en="Schedule",
        ja="学習率の変え方",
        help=(
            "cosine decay, or warm-up, stable, decay over the last fifth",
            "コサイン減衰、または一定のあと最後の2割で減衰 (WSD)",
        ),
    )
    weight_decay: float = option(
        0.1,
        en="Weight decay",
        ja="重み減衰",
        ge=0,
        le=1,
        help=("Of matrices only", "行列の重みのみ"),
    )
    max_gradient_norm: float = option(
        1.0,
        en="Gradient clipping",
        ja="勾配の上限",
        gt=0,
        help=("Gradients with a larger norm are scaled down", "これより大きい勾配を縮める"),
    )
    logit_penalty: float = option(
        1e-4,
        en="Logit penalty",
        ja="ロジットの罰則",
        ge=0,
        le=1,
        help=(
            "Keeps the largest logit of each position from drifting away",
            "各位置の最大のロジットが大きくなりすぎるのを防ぐ",
        ),
    )
    held_out_bytes: int = option(
        100_000,
        en="Held-out text",
        ja="検証用の文章",
        ge=0,
        help=(
            "Bytes of whole works kept out of training (at most 5 %)",
            "学習に使わない作品のバイト数 (最大 5 %)",
        ),
    )
    evaluations: int = option(
        10,
        en="Evaluations",
        ja="途中評価の回数",
        ge=1,
        le=10_000,
        help=(
            "How often bits per byte of the held-out text are measured, and samples written",
            "検証用の文章のバイトあたりビット数を測り、文章を生成してみる回数",
        ),
    )
    checkpoint_every: int = option(
        100,
        en="Checkpoint every",
        ja="保存の間隔",
        ge=1,
        help=("Steps between checkpoints to resume from", "再開用に保存するステップの間隔"),
    )
    precision: Literal["auto", "bf16", "fp32"] = option(
        "auto",
        en="Precision",
        ja="精度",
        help=(
            "Of the arithmetic; the weights are kept in fp32. auto: bf16 where the machine is fast at it",
            "計算の精度 (重みは fp32 で保持)。auto: 速い機械では bf16",
        ),
    )
    seed: int = option(0, en="Seed", ja="乱数の種", ge=0, le=2**32 - 1)
