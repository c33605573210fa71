"""What counts as a duplicate, and which of several copies stays."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from kajiya.core.config import Config, option
from kajiya.core.language import tr


class Keep(Config):
    """Which documents of a cluster stay."""

    policy: Literal["longest", "first", "best"] = option(
        "longest",
        en="Which copy stays",
        ja="残す文書",
        help=(
            "longest: the one with most characters; first: the first read; best: the one with the"
            " highest value in a column",
            "longest: 最も長いもの、first: 最初に読んだもの、best: 指定した列の値が最も大きいもの",
        ),
    )
    column: str = option("", en="Column for best", ja="best で比べる列")
    sources: tuple[str, ...] = option(
        (),
        en="Preferred sources",
        ja="優先する入手元",
        help=(
            "copies from these stay before all others, the first named before the second",
            "ここに書いた順に優先して残します",
        ),
    )
    rehydrate: int = option(
        0,
        ge=0,
        en="More copies of large clusters",
        ja="重複の多い文書を多めに残す",
        help=(
            "0: one copy. N (2 or more): another copy for every N-fold size of the cluster, for what"
            " many sites copied is often good",
            "0 なら 1 件だけ。N (2 以上) なら重複数が N 倍になるごとに 1 件多く残します",
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.policy == "best") != bool(self.column):
            raise ValueError(
                tr(
                    "the policy 'best' and a column belong together",
                    "best と列の指定は必ず組にしてください",
                )
            )
        if self.rehydrate == 1:
            raise ValueError(tr("rehydrate is 0, or 2 or more", "rehydrate は 0 か 2 以上です"))
        return self


class ExactSettings(Config):
    """Duplicates that differ in nothing but width, case and spaces."""

    keep: Keep = option(Keep, en="Which stay", ja="残し方")


class NearSettings(Config):
    """Near-duplicates by MinHash: documents that share most of their runs of `shingle` characters.

    Two documents of Jaccard similarity s are compared with the chance 1 - (1 - s^rows)^bands.
    """

    shingle: int = option(5, ge=1, le=64, en="Characters in a shingle", ja="比べる文字の並びの長さ")
    bands: int = option(25, ge=1, le=256, en="Bands", ja="バンドの数")
    rows: int = option(8, ge=1, le=128, en="Hashes in a band", ja="1 バンドのハッシュの数")
    threshold: float = option(
        0.7,
        ge=0.5,
        le=1.0,
        en="Similarity of duplicates",
        ja="重複とみなす類似度",
        help=(
            "Jaccard similarity, estimated by the share of equal hashes among bands × rows",
            "Jaccard 係数 (一致したハッシュの割合による推定値)",
        ),
    )
    keep: Keep = option(Keep, en="Which stay", ja="残し方")


PRESETS = {
    "kajiya": NearSettings(),
    "llm-jp-v4": NearSettings(bands=20, rows=10),
    "swallow-v1": NearSettings(bands=40, rows=20, threshold=0.8),
}
