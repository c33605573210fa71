"""What a tuning job and a forge job are told; kept in the job's `config.yaml`."""

from __future__ import annotations

from kajiya.core.config import Config, option
from kajiya.training.config import TuneConfig


class TuneOptions(Config):
    """References are to artifacts of the workspace, so a job can be resumed long after."""

    base: str = option(en="Base model", ja="基にするモデル")
    dataset: str = option(en="Training data", ja="学習データ")
    held_out: str | None = option(None, en="Held-out data", ja="検証データ")
    operations: float = option(0.0, en="Estimated work", ja="見積もった計算量", ge=0)
    samples: int = option(
        0,
        en="Questions during training",
        ja="学習中に尋ねる質問の数",
        ge=0,
        le=20,
        help=(
            "Asked at every evaluation, to see what has been learnt; the result stays the same",
            "途中評価のたびに尋ね、覚え具合を見る。学習の結果は変わらない",
        ),
    )
    tune: TuneConfig = option(TuneConfig, en="Tuning", ja="学習の設定")


class ForgeOptions(TuneOptions):
    """A tuning, and how much is asked of both models around it."""

    evaluate_rows: int = option(
        40,
        en="Questions to ask",
        ja="評価する質問の数",
        ge=0,
        le=100_000,
        help=(
            "At most this many of each set, before and after tuning",
            "各組から最大この数を、学習の前後で尋ねる",
        ),
    )
