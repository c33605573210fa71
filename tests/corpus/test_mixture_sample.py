"""Another mixture of the same corpus: shares, repeats, what is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kajiya.core.errors import DataError
from kajiya.corpus.layout import SHARDS
from kajiya.corpus.mixture_sample import SourcedCorpus
from support.recipes import RECIPE, follow, make_sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("mixture")
    return follow(make_sources(base / "sources"), base / "run")


@pytest.fixture(scope="module")
def corpus(folder: Path) -> SourcedCorpus:
    return SourcedCorpus.open(folder)


def shares(corpus: SourcedCorpus, weights: list[float], tokens: int) -> np.ndarray:
    mixed = corpus.mixed(np.array(weights), tokens, seed=1)
    lengths = mixed.shards.lengths[mixed.trained]
    return np.bincount(corpus.of[mixed.trained], lengths, minlength=len(weights))


def test_sources_and_their_natural_shares(corpus: SourcedCorpus) -> None:
    assert corpus.sources == ("web", "books")
    assert corpus.natural.sum() == pytest.approx(1)
    assert (corpus.natural > 0.2).all()


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.1], [0.0, 1.0]])
@pytest.mark.parametrize("factor", [0.3, 5])  # a part of the corpus, and all of it several times
def test_each_source_gets_its_share(
    corpus: SourcedCorpus, weights: list[float], factor: float
) -> None:
    tokens = round(corpus.corpus.tokens * factor)
    longest = int(corpus.corpus.shards.lengths.max())
    found = shares(corpus, weights, tokens)
    assert np.abs(found - tokens * np.array(weights)).max() <= longest


def test_what_is_held_out_stays_so_and_nothing_comes_twice_too_early(corpus: SourcedCorpus) -> None:
    mixed = corpus.mixed(np.array([0.0, 1.0]), corpus.corpus.tokens * 3, seed=0)
    assert not set(mixed.trained) & set(mixed.held_out)
    times = np.bincount(mixed.trained)
    assert np.ptp(times[times > 0]) <= 1
    assert mixed.held_out_size == corpus.corpus.held_out_size


def test_the_seed_decides(corpus: SourcedCorpus) -> None:
    one, same, other = (corpus.mixed(corpus.natural, 3000, seed=seed).trained for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("tokenizer: {algorithm: byte-bpe, vocab_size: 320}\nshards: {size_mb: 0.004, held_out_bytes: 600}\n", "", "no tokens"),
        ("held_out_bytes: 600", "held_out_bytes: 0", "nothing out"),
        ("    - {source: books, repeats: 2.5}\n", "", "one source"),
    ],
)  # fmt: skip
def test_a_corpus_that_cannot_be_mixed_says_why(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    recipe = make_sources(tmp_path / "sources")
    assert old in RECIPE
    recipe.write_text(RECIPE.replace(old, new), "utf-8")
    built = follow(recipe, tmp_path / "run")
    assert (built / SHARDS).exists() == (why != "no tokens")
    with pytest.raises(DataError, match=why):
        SourcedCorpus.open(built)
