"""The same corpus in another mixture, for a small run: sequences drawn by their sources' weights."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.corpus.build import Corpus


@dataclass(frozen=True)
class SourcedCorpus:
    """A built corpus and where each of its sequences is from.

    `sources` are names, `[sources]`; `of` is the number of each sequence's source, `[sequences]`;
    `natural` the share of each source in the tokens to train on, `[sources]`.
    """

    corpus: Corpus
    sources: tuple[str, ...]
    of: NDArray[np.int64]
    natural: NDArray[np.float64]

    @classmethod
    def open(cls, folder: Path) -> SourcedCorpus:
        """The corpus of an artifact's folder. Raises `DataError` if no mixture of it can be tried."""
        if not (folder / layout.SHARDS).exists():
            raise _no_search(tr("it has no tokens", "トークンがありません"))
        corpus = Corpus.open(folder / layout.SHARDS)
        index = pl.concat(layout.iterate(folder / layout.INDEX, ["source"]))
        names = tuple(index["source"].unique(maintain_order=True))
        numbers = {name: number for number, name in enumerate(names)}
        source_of = index["source"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
        shards = corpus.shards
        documents = np.concatenate([shard.documents[:, 0] for shard in shards.shards])
        of = source_of[documents]
        trained = corpus.trained
        tokens = np.bincount(of[trained], shards.lengths[trained], minlength=len(names))
        if np.count_nonzero(tokens) < 2:
            raise _no_search(tr("it is of one source", "情報源が1つです"))
        if not corpus.held_out:
            raise _no_search(tr("it holds nothing out", "検証用の文書がありません"))
        kept = np.flatnonzero(tokens)
        renumbered = np.full(len(names), -1, np.int64)
        renumbered[kept] = np.arange(len(kept))
        natural = tokens[kept] / tokens.sum()
        return cls(corpus, tuple(names[each] for each in kept), renumbered[of], natural)

    def mixed(self, weights: NDArray[np.float64], tokens: int, seed: int) -> Corpus:
        """About `tokens` to train on, of each source its share `weights` `[sources]`.

        Documents of a source come in a random order, each once before any comes again; what is held
        out stays so.
        """
        generator = np.random.default_rng(seed)
        trained, lengths = self.corpus.trained, self.corpus.shards.lengths
        chosen = []
        for number, weight in enumerate(weights):
            own = generator.permutation(trained[self.of[trained] == number])
            ends = np.cumsum(lengths[own], dtype=np.int64)
            rounds, rest = divmod(round(tokens * float(weight)), int(ends[-1]))
            chosen += [own] * rounds
            chosen.append(own[: np.searchsorted(ends, rest)])
        values = {each.name: getattr(self.corpus, each.name) for each in fields(Corpus)}
        return _Mixed(**values, chosen=np.concatenate(chosen))


@dataclass(frozen=True)
class _Mixed(Corpus):
    """A corpus of which only some sequences are trained on, some of them several times."""

    chosen: NDArray[np.int64] = field(repr=False)

    @property
    def trained(self) -> NDArray[np.int64]:
        return self.chosen


def _no_search(why: str) -> DataError:
    return DataError(
        tr(
            f"mixtures of this corpus cannot be tried: {why}",
            f"このコーパスの配合は試せません。{why}",
        ),
        fix=tr(
            "build it from several sources, with `tokenizer` and `held_out_bytes` in the recipe",
            "複数の情報源から、レシピに `tokenizer` と `held_out_bytes` を指定して作ってください",
        ),
    )
