"""Whether a text is Japanese, English or something else, from its scripts and English's commonest words.

Japanese is told from Chinese by its kana, English from other languages in Latin letters by words such as
`the` and `of`. A score is the share of the text, in words, that is in the language; so it falls with every foreign
passage, and a page half in each language has 0.5 for both. A few words without kana or such
a word are too little to tell.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.corpus.compiled import compiled
from kajiya.corpus.rules.characters import (
    HIRAGANA,
    KANJI,
    KATAKANA,
    LATIN,
    LETTER,
    count_kinds,
    kind_of,
    kinds,
)
from kajiya.corpus.texts import Texts

# Words that English needs in nearly every sentence and the other languages in Latin letters hardly have.
_ENGLISH = [
    "the",
    "of",
    "and",
    "to",
    "that",
    "is",
    "was",
    "for",
    "it",
    "with",
    "as",
    "his",
    "he",
    "be",
    "by",
    "this",
    "have",
    "from",
    "which",
    "you",
    "are",
    "not",
    "had",
    "but",
    "at",
    "they",
    "or",
    "an",
    "were",
    "we",
    "there",
    "been",
    "has",
    "would",
    "when",
    "who",
    "will",
    "more",
    "if",
    "out",
    "what",
    "up",
    "than",
    "its",
    "about",
    "into",
    "them",
    "can",
    "only",
    "other",
    "could",
    "my",
    "these",
    "your",
    "our",
    "their",
    "she",
    "her",
    "him",
    "some",
    "any",
    "after",
    "most",
    "over",
    "such",
    "very",
    "because",
    "should",
    "where",
    "while",
    "before",
    "between",
    "through",
]
_JAPANESE_WORD = 2  # letters of a word on average, to weigh scripts against each other
_OTHER_WORD = 5
_KANA = 0.1  # of kana and kanji; Chinese that quotes some Japanese has less
_FEWEST, _ENOUGH = 0.08, 0.22  # of English text that is one of its commonest words
_FREE = np.uint64(0)


def language_scores(texts: Texts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The shares of each text that are Japanese and that are English, both `[texts]`; 0 where there is no letter."""
    counts = count_kinds(texts)
    kana = counts[:, HIRAGANA] + counts[:, KATAKANA]
    japanese = (kana + counts[:, KANJI]) / _JAPANESE_WORD
    latin, common = _latin_words(texts.points, texts.starts, kinds(), _common_words())
    words = np.maximum(japanese + latin + counts[:, LETTER] / _OTHER_WORD, 1e-9)
    kana_share = kana / np.maximum(kana + counts[:, KANJI], 1)
    common_share = (common / np.maximum(latin, 1) - _FEWEST) / (_ENOUGH - _FEWEST)
    return (
        np.clip(kana_share / _KANA, 0, 1) * japanese / words,
        np.clip(common_share, 0, 1) * latin / words,
    )


def fill_language(frame: pl.DataFrame) -> pl.DataFrame:
    """The same documents with `language`, where it is empty, `ja` or `en` if at least half of the text is."""
    japanese, english = language_scores(Texts.read(frame["text"]))
    found = np.select([(japanese >= 0.5) & (japanese >= english), english >= 0.5], ["ja", "en"], "")
    told = pl.Series("language", found.tolist(), pl.String)
    given = pl.col("language")
    return frame.with_columns(pl.when(given == "").then(told).otherwise(given).alias("language"))


@cache
def _common_words() -> NDArray[np.uint64]:
    """A hash table of the words, up to eight letters as the bytes of a number."""
    table = np.zeros(512, np.uint64)
    for word in _ENGLISH:
        key = int.from_bytes(word.encode(), "big")
        slot = key % 511
        while table[slot]:
            slot = (slot + 1) % 512
        table[slot] = key
    table.flags.writeable = False
    return table


@compiled
def _latin_words(
    points: NDArray[Any], starts: NDArray[Any], table: NDArray[Any], common: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words in Latin letters of each text, and how many of them are common English ones."""
    words = np.zeros(len(starts) - 1, np.int64)
    found = np.zeros(len(starts) - 1, np.int64)
    for text in range(len(starts) - 1):
        size = 0
        key = np.uint64(0)
        for i in range(starts[text], starts[text + 1] + 1):
            if i < starts[text + 1] and kind_of(points[i], table) == LATIN:
                size += 1
                key = key << np.uint64(8) | np.uint64(points[i] | 0x20) & np.uint64(0xFF)
                continue
            if size:
                words[text] += 1
                if size <= 8:
                    slot = key % np.uint64(511)
                    while common[slot] != _FREE and common[slot] != key:
                        slot = (slot + np.uint64(1)) % np.uint64(512)
                    found[text] += common[slot] == key
            size = 0
            key = np.uint64(0)
    return words, found
