"""How often each source is trained on: repeats as they are given, or weights of a token budget.

A plan is made from a table of what there is (`INVENTORY`), shown before anything is written, and then
says for each document how many copies of it go into the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import model_validator

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.corpus.hashing import hashes
from kajiya.corpus.utf8 import memory

_KEYS = ["source", "language", "domain"]
INVENTORY = pl.Schema(
    {**dict.fromkeys(_KEYS, pl.String), "documents": pl.Int64, "tokens": pl.Int64}
)


class Share(Config):
    """Documents, and how often or with which weight they are trained on. Empty: any."""

    source: str = option("", en="Source", ja="入手元")
    language: str = option("", en="Language", ja="言語")
    domain: str = option("", en="Kind of text", ja="文章の種類")
    repeats: float | None = option(
        None,
        ge=0,
        le=1000,
        en="Repeats",
        ja="繰り返しの回数",
        help=(
            "2.5: each document twice, and every second one (chosen by its id) once more",
            "2.5 なら全文書を 2 回、半数の文書 (id で決まります) をもう 1 回",
        ),
    )
    weight: float | None = option(
        None, ge=0, en="Weight", ja="重み", help=("share of the budget", "トークン予算の配分")
    )


class MixtureSettings(Config):
    """The first share that fits a document decides; what no share fits is left out."""

    shares: tuple[Share, ...] = option(en="Shares", ja="配分", min_length=1)
    tokens: int | None = option(
        None, gt=0, en="Token budget", ja="トークン予算", help=("for weights", "重みを使うとき")
    )
    most_repeats: float = option(
        8.0,
        gt=0,
        en="Repeats at most",
        ja="繰り返しの上限",
        help=(
            "for weights: what a small source cannot give goes to the others by their weights",
            "重みを使うとき、少ない入手元の不足分は他の入手元に重みの比で回します",
        ),
    )
    seed: int = option(0, en="Seed", ja="乱数の種")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        weights = [share.weight is not None for share in self.shares]
        repeats = [share.repeats is not None for share in self.shares]
        if not (all(weights) and not any(repeats)) and not (all(repeats) and not any(weights)):
            raise ValueError(
                tr(
                    "every share has repeats, or every share has a weight",
                    "すべての配分に repeats か weight のどちらか一方を書いてください",
                )
            )
        if all(weights) and (self.tokens is None or not any(s.weight for s in self.shares)):
            raise ValueError(
                tr(
                    "weights need a token budget and one weight above 0",
                    "重みにはトークン予算 tokens と 0 より大きい重みが必要です",
                )
            )
        if all(repeats) and self.tokens is not None:
            raise ValueError(
                tr("a token budget needs weights", "トークン予算は重みと一緒に使います")
            )
        return self


@dataclass(frozen=True)
class Plan:
    """`table`: the inventory with the columns `repeats` and `planned` (tokens)."""

    table: pl.DataFrame
    seed: int
    budget: int | None

    @property
    def tokens(self) -> int:
        """Tokens to train on."""
        return int(self.table["planned"].sum())

    def preview(self) -> pl.DataFrame:
        """The table with the `percent` of all planned tokens, and a last row of totals (repeats null)."""
        total = self.table.select(
            pl.lit("*").alias("source"),
            pl.lit("").alias("language"),
            pl.lit("").alias("domain"),
            pl.col("documents").sum(),
            pl.col("tokens").sum(),
            pl.lit(None, pl.Float64).alias("repeats"),
            pl.col("planned").sum(),
        )
        percent = 100 * pl.col("planned") / max(1, self.tokens)
        return pl.concat([self.table, total]).with_columns(percent.alias("percent"))

    def copies(self, frame: pl.DataFrame) -> pl.Series:
        """How many copies of each document go into the corpus, by its source, language, domain and id.

        Raises `ConfigError` for documents that are not in the inventory.
        """
        repeats = frame.select(_KEYS).join(
            self.table.select(*_KEYS, "repeats"), on=_KEYS, how="left", maintain_order="left"
        )["repeats"]
        if repeats.has_nulls():
            row = frame.select(_KEYS).filter(repeats.is_null()).row(0)
            raise ConfigError(
                tr(
                    "the mixture was planned without these documents",
                    "配合の計画に入っていない文書があります",
                ),
                where=" / ".join(row),
                fix=tr("plan it again", "計画を作り直してください"),
            )
        name = pl.format("{}\n{}\n{}", pl.lit(self.seed), "source", "id")
        chance = hashes(*memory(frame.select(name).to_series())) / 2.0**64
        whole = np.floor(repeats.to_numpy())
        return pl.Series("copies", (whole + (chance < repeats.to_numpy() - whole)).astype(np.int64))


def plan_mixture(inventory: pl.DataFrame, settings: MixtureSettings) -> Plan:
    """What is trained on how often. Raises `ConfigError` for a share that fits nothing."""
    table = inventory.select(INVENTORY.names()).cast(dict(INVENTORY))  # type: ignore[arg-type]
    chosen = np.array([_first_fit(row, settings.shares) for row in table.iter_rows(named=True)])
    tokens = table["tokens"].to_numpy()
    available = np.array(
        [int(tokens[chosen == index].sum()) for index in range(len(settings.shares))], np.float64
    )
    for share, there_is in zip(settings.shares, available, strict=True):
        if not there_is:
            raise ConfigError(
                tr("no documents fit this share", "この配分に当てはまる文書がありません"),
                where=" / ".join(filter(None, (share.source, share.language, share.domain))),
                fix=tr("there are: ", "あるもの: ")
                + ", ".join(" / ".join(row) for row in table.select(_KEYS).iter_rows()),
            )
    if settings.tokens is None:
        repeats = np.array([share.repeats for share in settings.shares], np.float64)
    else:
        weights = np.array([share.weight for share in settings.shares], np.float64)
        repeats = _fill(weights, available, settings.tokens, settings.most_repeats) / available
    each = np.append(repeats, 0.0)[chosen]  # -1, which fits nothing, is the last
    columns = {"repeats": each, "planned": np.rint(each * tokens).astype(np.int64)}
    return Plan(
        table.with_columns(*(pl.Series(name, column) for name, column in columns.items())),
        settings.seed,
        settings.tokens,
    )


def _first_fit(row: dict[str, str], shares: tuple[Share, ...]) -> int:
    for index, share in enumerate(shares):
        if all(getattr(share, key) in ("", row[key]) for key in _KEYS):
            return index
    return -1


def _fill(
    weights: NDArray[np.float64], available: NDArray[np.float64], budget: float, most: float
) -> NDArray[np.float64]:
    """Tokens of each share: in proportion to the weights, but at most `most` times what there is."""
    filled = np.zeros(len(weights))
    open_shares = weights > 0
    while open_shares.any():
        left = budget - filled[~open_shares].sum()
        filled[open_shares] = left * weights[open_shares] / weights[open_shares].sum()
        over = open_shares & (filled > most * available)
        if not over.any():
            break
        filled[over] = most * available[over]
        open_shares &= ~over
    return filled
