"""Words of a text as runs of one script: fast, and near enough for rules that count words.

No morphology: 食べています is 食 and べています. A mark of punctuation is a word of its own, blanks are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.corpus.compiled import compiled
from kajiya.corpus.rules.characters import (
    ASCII_STOP,
    COMMA,
    CONTROL,
    DIGIT,
    NEWLINE,
    OTHER,
    PROLONGED,
    SPACE,
    STOP,
    kind_of,
    kinds,
)
from kajiya.corpus.rules.shape import hash_of, same
from kajiya.corpus.texts import Texts


@dataclass(frozen=True)
class Words:
    """`numbers[starts[i]:starts[i + 1]]` are the words of text `i`, equal words with equal numbers.

    `sizes` are their characters; `wordless` counts those of each text without a letter, `[texts]`.
    """

    numbers: NDArray[np.uint32]
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    wordless: NDArray[np.int64]


def words(texts: Texts) -> Words:
    """The words of each text."""
    numbers = np.empty(len(texts.points), np.uint32)
    sizes = np.empty(len(texts.points), np.int64)
    starts, wordless = _words(texts.points, texts.starts, kinds(), numbers, sizes)
    return Words(numbers[: starts[-1]], sizes[: starts[-1]], starts, wordless)


@compiled
def _words(
    points: NDArray[Any],
    starts: NDArray[Any],
    table: NDArray[Any],
    numbers: NDArray[Any],
    sizes: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ends = np.zeros(len(starts), np.int64)
    wordless = np.zeros(len(starts) - 1, np.int64)
    begins = np.empty(len(points), np.int64)
    at = 0
    for text in range(len(starts) - 1):
        previous = SPACE
        for i in range(starts[text], starts[text + 1]):
            kind = kind_of(points[i], table)
            mark = kind in (OTHER, STOP, COMMA, ASCII_STOP)
            if kind in (SPACE, NEWLINE, CONTROL):
                previous = SPACE
                continue
            if not mark and previous != SPACE and kind in (previous, PROLONGED):
                sizes[at - 1] += 1
                continue
            begins[at] = i
            sizes[at] = 1
            at += 1
            wordless[text] += mark or kind == DIGIT
            previous = SPACE if mark else kind
        ends[text + 1] = at
        _number(points, begins, sizes, ends[text], at, numbers)
    return ends, wordless


@compiled
def _number(
    points: NDArray[Any],
    begins: NDArray[Any],
    sizes: NDArray[Any],
    first: int,
    last: int,
    numbers: NDArray[Any],
) -> None:
    """Give equal words among `first` to `last` the number of the first of them."""
    slots = 4
    while slots < 2 * (last - first):
        slots *= 2
    mask = np.uint64(slots - 1)
    seen = np.full(slots, -1, np.int64)
    for word in range(first, last):
        slot = hash_of(points, begins[word], sizes[word]) & mask
        while seen[slot] >= 0 and not same(
            points, begins[seen[slot]], sizes[seen[slot]], begins[word], sizes[word]
        ):
            slot = (slot + np.uint64(1)) & mask
        if seen[slot] < 0:
            seen[slot] = word
        numbers[word] = seen[slot] - first
