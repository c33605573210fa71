"""The numbers that rules look at, for a whole batch at once; only those that are asked for are computed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.corpus.rules import characters as kind
from kajiya.corpus.rules.languages import language_scores
from kajiya.corpus.rules.quality import QualityModel
from kajiya.corpus.rules.repetition import character_ngrams, word_ngrams
from kajiya.corpus.rules.segments import words
from kajiya.corpus.rules.shape import count_point, first_kana, lines, sentences
from kajiya.corpus.rules.wordlists import Matches, WordSearch
from kajiya.corpus.texts import Texts

_Columns = dict[str, NDArray[Any]]
_CHARACTER_GRAMS = tuple(
    [f"top_{n}gram" for n in range(2, 5)] + [f"repeated_{n}gram" for n in range(5, 11)]
)
_WORD_GRAMS = tuple(
    [f"top_{n}words" for n in range(2, 5)] + [f"repeated_{n}words" for n in range(5, 11)]
)
NG_LISTS = ("adult", "discrimination", "violence")
NG = "ng"  # the words of all of these


@dataclass(frozen=True)
class Helpers:
    """What rules need beside the text: word lists, quality scores by language, blocked hosts."""

    words: WordSearch
    stop_words: tuple[str, ...]
    quality: dict[str, QualityModel]
    blocked: frozenset[str]


@dataclass(frozen=True)
class Batch:
    """Documents after cleaning: `texts` are those of `frame`."""

    frame: pl.DataFrame
    texts: Texts
    helpers: Helpers

    @cached_property
    def kinds(self) -> NDArray[np.int64]:
        return kind.count_kinds(self.texts)

    @cached_property
    def language(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return language_scores(self.texts)


def measure(batch: Batch, names: Collection[str]) -> dict[str, pl.Series]:
    """A column for each of the rules `names`, in their order, called by the name."""
    found: _Columns = {}
    for provided, compute in _MEASURES:
        if not set(provided).isdisjoint(names):
            found |= compute(batch)
    return {name: pl.Series(name, found[name], nan_to_null=True) for name in names}


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """`part / whole`; 0 where both are."""
    return np.asarray(part / np.maximum(whole, 1))


def _characters(batch: Batch) -> _Columns:
    counts, length = batch.kinds, batch.texts.lengths
    japanese = counts[:, [kind.HIRAGANA, kind.KATAKANA, kind.KANJI, kind.STOP, kind.COMMA]].sum(1)
    letters = [kind.HIRAGANA, kind.KATAKANA, kind.KANJI, kind.PROLONGED]
    letters += [kind.LATIN, kind.DIGIT, kind.LETTER]
    return {
        "length": length,
        "japanese_characters": japanese,
        "japanese": _share(japanese, length),
        "hiragana": _share(counts[:, kind.HIRAGANA], japanese),
        "katakana": _share(counts[:, kind.KATAKANA], japanese),
        "alphanumeric": _share(counts[:, letters].sum(1), length),
    }


def _first_kana(batch: Batch) -> _Columns:
    return {"first_kana": first_kana(batch.texts)}


def _blocked(batch: Batch) -> _Columns:
    hosts = batch.helpers.blocked
    return {"blocked": np.array([_is_blocked(url, hosts) for url in batch.frame["url"]], np.int64)}


def _is_blocked(url: str | None, hosts: frozenset[str]) -> bool:
    try:
        host = (urlsplit(url or "").hostname or "").rstrip(".")
    except ValueError:  # brackets that are no address
        return False
    labels = host.split(".")
    return any(".".join(labels[i:]) in hosts for i in range(len(labels)))


def _languages(batch: Batch) -> _Columns:
    japanese, english = batch.language
    return {"language_japanese": japanese, "language_english": english}


def _quality(batch: Batch) -> _Columns:
    """The score by the text's language; none where that language has none."""
    scores = np.full(len(batch.texts), np.nan)
    japanese, english = batch.language
    for language, chosen in (
        ("japanese", (japanese >= english) & (japanese > 0)),
        ("english", english > japanese),
    ):
        model = batch.helpers.quality.get(language)
        if model is not None:
            scores = np.where(chosen, model.score(batch.texts), scores)
    return {"quality": scores}


def _sentences(batch: Batch) -> _Columns:
    found = sentences(batch.texts)
    return {
        "mean_sentence": _share(found.characters, found.count),
        "longest_sentence": found.longest,
        "ellipsis": _share(found.marked, found.count),
        "repeated_sentences": _share(found.repeated, found.count),
        "repeated_sentence_characters": _share(found.repeated_characters, found.characters),
    }


def _stops(batch: Batch) -> _Columns:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = batch.texts.lengths / count_point(batch.texts, "。")
    return {"characters_per_stop": np.nan_to_num(found, nan=0.0, posinf=np.inf)}


def _lines(batch: Batch) -> _Columns:
    found = lines(batch.texts)
    return {
        "mean_line": _share(found.characters, found.count),
        "longest_line": found.longest,
        "punctuated_lines": _share(found.marked, found.count),
        "repeated_lines": _share(found.repeated, found.count),
        "repeated_line_characters": _share(found.repeated_characters, found.characters),
    }


def _character_grams(batch: Batch) -> _Columns:
    tops, repeated = character_ngrams(batch.texts, 10)
    return {
        name: tops[:, n] if n < 5 else repeated[:, n] for n, name in enumerate(_CHARACTER_GRAMS, 2)
    }


def _words(batch: Batch) -> _Columns:
    found = words(batch.texts)
    count = np.diff(found.starts)
    tops, repeated = word_ngrams(
        found.numbers, found.sizes, found.starts, batch.texts.lengths, longest=10
    )
    grams = {name: tops[:, n] if n < 5 else repeated[:, n] for n, name in enumerate(_WORD_GRAMS, 2)}
    sizes = np.concatenate([[0], np.cumsum(found.sizes)])
    return {
        "mean_word": _share(np.diff(sizes[found.starts]), count),
        "wordless": _share(found.wordless, count),
        "newlines_per_word": _share(batch.kinds[:, kind.NEWLINE], count),
        **grams,
    }


def _zlib(batch: Batch) -> _Columns:
    ratios = np.zeros(len(batch.texts))
    for i, text in enumerate(batch.frame["text"]):
        raw = (text or "").encode()
        ratios[i] = len(zlib.compress(raw, 9)) / max(len(raw), 1)
    return {"zlib_ratio": ratios}


def _find(batch: Batch, search: WordSearch) -> Matches:
    starts = batch.texts.starts
    return search.find(batch.texts.points, starts[:-1], starts[1:])


def _listed(batch: Batch) -> _Columns:
    search = batch.helpers.words
    found = _find(batch, search)
    count = dict(zip(search.names, found.count.T, strict=True))
    covered = dict(zip(search.names, found.covered.T, strict=True))
    return {
        "ng_share": _share(covered[NG], batch.texts.lengths),
        "advert_share": _share(covered["adverts"], batch.texts.lengths),
        **{name: count[name] for name in ("adverts", *NG_LISTS)},
    }


def _stop_words(batch: Batch) -> _Columns:
    text = pl.col("text").fill_null("")
    held = [text.str.contains(word, literal=True) for word in batch.helpers.stop_words]
    counts = batch.frame.select(pl.sum_horizontal(pl.lit(0), *held).alias("held"))
    return {"stop_words": counts["held"].to_numpy()}


_MEASURES: tuple[tuple[tuple[str, ...], Callable[[Batch], _Columns]], ...] = (
    (
        ("length", "japanese_characters", "japanese", "hiragana", "katakana", "alphanumeric"),
        _characters,
    ),
    (("first_kana",), _first_kana),
    (("blocked",), _blocked),
    (("language_japanese", "language_english"), _languages),
    (("quality",), _quality),
    (
        (
            "mean_sentence",
            "longest_sentence",
            "ellipsis",
            "repeated_sentences",
            "repeated_sentence_characters",
        ),
        _sentences,
    ),
    (("characters_per_stop",), _stops),
    (
        (
            "mean_line",
            "longest_line",
            "punctuated_lines",
            "repeated_lines",
            "repeated_line_characters",
        ),
        _lines,
    ),
    (_CHARACTER_GRAMS, _character_grams),
    (("mean_word", "wordless", "newlines_per_word", *_WORD_GRAMS), _words),
    (("zlib_ratio",), _zlib),
    (("ng_share", "advert_share", "adverts", *NG_LISTS), _listed),
    (("stop_words",), _stop_words),
)
