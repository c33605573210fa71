"""Trains a tokenizer of either kind on texts: draws the sample, and hands it to the one that learns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.tokenizer.sample import Sample, sample_sentences
from kajiya.tokenizer.settings import TokenizerConfig
from kajiya.tokenizer.terms import check_terms
from kajiya.tokenizer.train import train_tokenizer
from kajiya.tokenizer.unigram import train_unigram

Tell = Callable[[str, float, float], None]  # stage, done, total (0 where it is not known)


def train(
    texts: Iterable[str],
    config: TokenizerConfig,
    folder: Path,
    *,
    terms: Sequence[str] = (),
    tell: Tell = lambda stage, done, total: None,
) -> Tokenizer:
    """Train on a sample of `texts` and write a tokenizer's files into `folder`, which exists.

    Raises `ConfigError` for settings that contradict each other or the text, `DataError` without any
    text or for a term that cannot be a token.
    """
    sample = draw(texts, config.sample_characters, config.seed, tell)
    return train_on(sample, config, folder, terms=terms, tell=tell)


def draw(texts: Iterable[str], characters: int, seed: int, tell: Tell) -> Sample:
    """The sample, telling how much has been read."""
    return sample_sentences(texts, characters, seed, lambda seen: tell("read", seen, 0))


def train_on(
    sample: Sample,
    config: TokenizerConfig,
    folder: Path,
    *,
    terms: Sequence[str] = (),
    tell: Tell = lambda stage, done, total: None,
) -> Tokenizer:
    """`train` on a sample that has been drawn."""
    terms = check_terms(terms)
    if config.algorithm == "unigram":
        return train_unigram(sample, folder, config, terms, tell)
    if config.presplit != "none":
        raise ConfigError(
            tr("words are cut only for unigram", "単語への事前分割は unigram だけで使えます"),
            where="presplit",
        )
    tell("train", 0, 0)
    longest = config.longest_japanese
    return train_tokenizer(
        sample.sentences, config.vocab_size, folder, longest=longest, terms=terms
    )
