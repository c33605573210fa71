"""The options of tuning: what they mean, their range, and defaults that work."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from kajiya.core.config import Config, option

Method = Literal["lora", "state", "lora+state"]
LORA_RATE = 6e-4
STATE_RATE = 1.0


class TuneConfig(Config):
    """Supervised tuning of a base model whose own weights stay as they are."""

    method: Method = option(
        "lora",
        en="Method",
        ja="学習方式",
        help=(
            "What is learnt: low-rank changes of the weights, the state that a recurrent model (RWKV) starts from, or both",
            "学習する対象。重みの低ランク差分、RWKV の初期状態、またはその両方",
        ),
    )
    epochs: int = option(
        10,
        en="Epochs",
        ja="エポック数",
        ge=1,
        le=1000,
        help=("How often every row is seen", "全データを何周学習するか"),
    )
    learning_rate: float = option(
        LORA_RATE,
        en="Learning rate",
        ja="学習率",
        gt=0,
        le=10,
        help=(
            f"Peak step size of AdamW; with --method state {STATE_RATE:g} if not given",
            f"AdamW の最大の歩幅。--method state では、省略時 {STATE_RATE:g}",
        ),
    )
    state_ratio: float = option(
        1000.0,
        en="State's ratio",
        ja="初期状態の比",
        gt=0,
        le=10_000,
        help=(
            "With --method lora+state, the state learns this much faster than the LoRA's first factor",
            "--method lora+state で、初期状態を LoRA の前段の何倍の速さで学習するか",
        ),
    )
    b_ratio: float = option(
        8.0,
        en="LoRA+ ratio",
        ja="LoRA+ の比",
        gt=0,
        le=64,
        help=(
            "The adapter's second factor learns this much faster than its first; 1 is plain LoRA",
            "アダプタの後段を前段の何倍の速さで学習するか。1 なら通常の LoRA",
        ),
    )
    rank: int = option(
        16,
        en="LoRA rank",
        ja="LoRA のランク",
        ge=1,
        le=1024,
        help=("Capacity of the adapter", "アダプタの容量"),
    )
    alpha: float | None = option(
        None,
        en="LoRA alpha",
        ja="LoRA のアルファ",
        gt=0,
        help=(
            "Scale of the adapter; twice the rank if not given",
            "アダプタの強さ。省略時はランクの2倍",
        ),
    )
    dropout: float = option(
        0.0,
        en="LoRA dropout",
        ja="LoRA のドロップアウト",
        ge=0,
        lt=1,
        help=(
            "Share of the adapter's inputs left out at random",
            "アダプタの入力を無作為に落とす割合",
        ),
    )
    question_dropout: float = option(
        0.5,
        en="Question dropout",
        ja="質問の語の間引き",
        ge=0,
        lt=1,
        help=(
            "Up to this share of a question's tokens is left out at random in all epochs but the last,"
            " so that other wordings are understood",
            "最後の周を除き、質問の語を最大この割合まで無作為に間引く。言い換えに強くなる",
        ),
    )
    batch_tokens: int = option(
        448,
        en="Tokens per step",
        ja="1ステップのトークン数",
        ge=16,
        le=1_000_000,
        help=(
            "Rows of similar length are put together up to this many tokens",
            "似た長さの行をこの数までまとめる",
        ),
    )
    accumulation: int = option(
        1,
        en="Gradient accumulation",
        ja="勾配の累積",
        ge=1,
        le=1024,
        help=("Batches summed up before each update", "更新1回にまとめるバッチの数"),
    )
    max_tokens: int = option(
        1024,
        en="Longest row",
        ja="行の最大長",
        ge=16,
        le=1_000_000,
        help=(
            "Rows with more tokens are left out and reported",
            "これより長い行は除外して報告する",
        ),
    )
    packing: bool = option(
        False,
        en="Packing",
        ja="詰め込み",
        help=(
            "Lay rows end to end instead of padding; they do not see each other",
            "余白で揃える代わりに行をつなげる (行どうしは互いに見えない)",
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
    warmup: float = option(
        0.05,
        en="Warm-up",
        ja="ウォームアップ",
        ge=0,
        le=0.5,
        help=(
            "Share of the steps in which the learning rate rises",
            "学習率を上げていく区間の割合",
        ),
    )
    weight_decay: float = option(0.0, en="Weight decay", ja="重み減衰", ge=0, le=1)
    max_gradient_norm: float = option(
        1.0,
        en="Gradient clipping",
        ja="勾配の上限",
        gt=0,
        help=("Gradients with a larger norm are scaled down", "これより大きい勾配を縮める"),
    )
    evaluations: int = option(
        2,
        en="Evaluations",
        ja="途中評価の回数",
        ge=1,
        le=1000,
        help=(
            "How often the loss on held-out rows is measured, evenly spread",
            "検証用の行で損失を測る回数 (等間隔)",
        ),
    )
    keep: Literal["best", "last"] = option(
        "best",
        en="Keep",
        ja="残す時点",
        help=(
            "The adapter with the lowest held-out loss, or the last",
            "検証損失が最小の時点か、最後の時点か",
        ),
    )
    checkpoint_every: int = option(
        20,
        en="Checkpoint every",
        ja="保存の間隔",
        ge=1,
        help=("Steps between checkpoints to resume from", "再開用に保存するステップの間隔"),
    )
    precision: Literal["auto", "bf16", "fp32"] = option(
        "auto",
        en="Precision",
        ja="精度",
        help=("auto: bf16 where the machine is fast at it", "auto: 速い機械では bf16"),
    )
    seed: int = option(0, en="Seed", ja="乱数の種", ge=0, le=2**32 - 1)

    @model_validator(mode="before")
    @classmethod
    def _rate_of_method(cls, values: Any) -> Any:
        """A state is learnt with much larger steps than a LoRA, so the default depends on the method."""
        if isinstance(values, dict) and values.get("method") == "state":
            return {"learning_rate": STATE_RATE} | values
        return values

    @property
    def tunes_state(self) -> bool:
        """Whether the initial state is learnt, alone or with a LoRA."""
        return self.method != "lora"

    @property
    def tunes_lora(self) -> bool:
        """Whether a LoRA is learnt, alone or with the initial state."""
        return self.method != "state"

    @property
    def lora_alpha(self) -> float:
        return self.alpha if self.alpha is not None else 2.0 * self.rank
