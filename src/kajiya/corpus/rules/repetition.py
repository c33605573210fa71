"""How much of a text is repeated n-grams of characters or of words, counted exactly.

An n-gram can only be repeated where the (n-1)-grams that begin and end it are. So each length looks only
at what the shorter one left, and names an n-gram by the number of its beginning and its last symbol.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.corpus.compiled import compiled
from kajiya.corpus.texts import Texts

_ONCE = np.uint32(0xFFFFFFFF)  # the number of what is there once
_FREE = np.uint64(0xFFFFFFFFFFFFFFFF)
_MIX = np.uint64(0x9E3779B97F4A7C15)


def character_ngrams(texts: Texts, longest: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For n-grams of 0 to `longest` characters of each text, `[texts, longest + 1]` both:

    the share of the most frequent one among all, and the share of different ones that are there more than once.
    0 where the text is shorter.
    """
    return _character_ngrams(texts.points, texts.starts, longest)


def word_ngrams(
    words: NDArray[np.uint32],
    sizes: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    longest: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For n-grams of 0 to `longest` words of each text, `[texts, longest + 1]` both, by characters of `lengths`:

    the share of the most frequent one times its number, and the share of those that were there before, read from
    left to right, what overlaps counted once. `words` are numbers, the same for equal words of a text; `sizes`
    their characters.
    """
    return _word_ngrams(words, sizes, starts, lengths, longest)


@compiled
def refine(
    symbols: NDArray[Any], grams: NDArray[Any], counts: NDArray[Any], size: int, alive: int
) -> tuple[int, int, int, int]:
    """Number the `size`-grams of `symbols` in `grams`, which holds the numbers of those one shorter.

    `alive` is how many of these are there more than once. Numbers count from 0 by first appearance; what is
    there once becomes `_ONCE`. `counts` gets how often each is there. Returns the highest count, where
    its n-gram first stands, how many positions hold a repeated n-gram, and how many different of these there are.
    """
    bits = 4
    while 1 << bits < 2 * alive:
        bits += 1
    shift = np.uint64(64 - bits)
    mask = np.uint64((1 << bits) - 1)
    table = np.full(2 << bits, _FREE, np.uint64)  # a key and, beside it, its number
    numbers = np.uint32(0)
    for i in range(len(symbols) - size + 1):
        if grams[i] == _ONCE or grams[i + 1] == _ONCE:
            grams[i] = _ONCE
            continue
        key = np.uint64(grams[i]) << np.uint64(32) | np.uint64(symbols[i + size - 1])
        slot = (key * _MIX) >> shift
        while table[2 * slot] != key and table[2 * slot] != _FREE:
            slot = (slot + np.uint64(1)) & mask
        if table[2 * slot] == _FREE:
            table[2 * slot] = key
            table[2 * slot + 1] = numbers
            counts[numbers] = 0
            numbers += np.uint32(1)
        number = table[2 * slot + 1]
        counts[number] += 1
        grams[i] = np.uint32(number)
    grams[len(symbols) - size + 1] = _ONCE  # too near to the end to begin one
    top = 1
    first = 0
    repeated = 0
    for i in range(len(symbols) - size + 1):
        if grams[i] != _ONCE:
            count = counts[grams[i]]
            if count > top:
                top = count
                first = i
            if count == 1:
                grams[i] = _ONCE
            else:
                repeated += 1
    different = 0
    for number in range(numbers):
        different += counts[number] > 1
    return top, first, repeated, different


@compiled
def _character_ngrams(
    points: NDArray[Any], starts: NDArray[Any], longest: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    tops = np.zeros((len(starts) - 1, longest + 1))
    shares = np.zeros((len(starts) - 1, longest + 1))
    room = np.max(starts[1:] - starts[:-1]) + 1 if len(starts) > 1 else 1
    grams = np.empty(room, np.uint32)
    counts = np.empty(room, np.int32)
    for text in range(len(starts) - 1):
        symbols = points[starts[text] : starts[text + 1]]
        grams[: len(symbols)] = symbols
        alive = len(symbols)
        for size in range(2, longest + 1):
            positions = len(symbols) - size + 1
            if positions < 1:
                break
            top, _, alive, different = refine(symbols, grams, counts, size, alive)
            tops[text, size] = top / positions
            shares[text, size] = different / (positions - alive + different)
    return tops, shares


@compiled
def _word_ngrams(
    words: NDArray[Any],
    sizes: NDArray[Any],
    starts: NDArray[Any],
    lengths: NDArray[Any],
    longest: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    tops = np.zeros((len(starts) - 1, longest + 1))
    shares = np.zeros((len(starts) - 1, longest + 1))
    room = np.max(starts[1:] - starts[:-1]) + 1 if len(starts) > 1 else 1
    grams = np.empty(room, np.uint32)
    counts = np.empty(room, np.int32)
    for text in range(len(starts) - 1):
        symbols = words[starts[text] : starts[text + 1]]
        size_of = sizes[starts[text] : starts[text + 1]]
        grams[: len(symbols)] = symbols
        alive = len(symbols)
        for size in range(2, longest + 1):
            positions = len(symbols) - size + 1
            if positions < 1:
                break
            top, first, alive, _ = refine(symbols, grams, counts, size, alive)
            tops[text, size] = top * np.sum(size_of[first : first + size]) / lengths[text]
            again = 0
            i = 0
            while i < positions:
                if grams[i] != _ONCE and counts[grams[i]] < 0:  # seen before
                    again += np.sum(size_of[i : i + size])
                    i += size
                    continue
                if grams[i] != _ONCE:
                    counts[grams[i]] = -1
                i += 1
            shares[text, size] = again / lengths[text]
    return tops, shares
