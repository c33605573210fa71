"""Lines and sentences of texts: how many, how long, how often the same, how they end.

A sentence is what stands in a line up to and including a 。 ． ！ ？ ! or ?; a further one of these adds
nothing to it. Lines and sentences of blanks alone are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.corpus.compiled import compiled
from kajiya.corpus.rules.characters import (
    ASCII_STOP,
    CONTROL,
    HIRAGANA,
    KATAKANA,
    NEWLINE,
    SPACE,
    STOP,
    kind_of,
    kinds,
)
from kajiya.corpus.texts import Texts

_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class Pieces:
    """Numbers of each text's lines, or of its sentences: `[texts]`.

    Of pieces that are there n times, n - 1 are `repeated`. `characters` are counted without line ends.
    `marked` ends in a way that is asked for: lines with punctuation, sentences with an ellipsis.
    """

    count: NDArray[np.int64]
    characters: NDArray[np.int64]
    longest: NDArray[np.int64]
    repeated: NDArray[np.int64]
    repeated_characters: NDArray[np.int64]
    marked: NDArray[np.int64]


def lines(texts: Texts) -> Pieces:
    """The lines of each text; `marked` ends in 。．！？!?.…」or 』."""
    found = _lines(texts.points, texts.starts, kinds())
    return Pieces(*found.T)


def sentences(texts: Texts) -> Pieces:
    """The sentences of each text; `marked` ends in …, ‥, ・ or three full stops."""
    found = _sentences(texts.points, texts.starts, kinds())
    return Pieces(*found.T)


def first_kana(texts: Texts) -> NDArray[np.int64]:
    """The characters before the first hiragana or katakana; -1 where there is none."""
    return _first_kana(texts.points, texts.starts, kinds())


def count_point(texts: Texts, character: str) -> NDArray[np.int64]:
    """How often each text holds `character`."""
    before = np.concatenate([[0], np.cumsum(texts.points == ord(character), dtype=np.int64)])
    return np.diff(before[texts.starts])


@compiled
def _blank(kind: int) -> bool:
    return kind in (SPACE, NEWLINE, CONTROL)


@compiled
def _lines(points: NDArray[Any], starts: NDArray[Any], table: NDArray[Any]) -> NDArray[np.int64]:
    found = np.zeros((len(starts) - 1, 6), np.int64)
    room = np.max(starts[1:] - starts[:-1]) + 1 if len(starts) > 1 else 1
    begins = np.empty(room, np.int64)
    sizes = np.empty(room, np.int64)
    for text in range(len(starts) - 1):
        count = 0
        begin = starts[text]
        end = starts[text + 1]
        solid = False
        last = -1
        for i in range(begin, end + 1):
            if i < end and points[i] != 10:
                if not _blank(kind_of(points[i], table)):
                    solid = True
                    last = i
                continue
            if solid:
                begins[count] = begin
                sizes[count] = i - begin
                count += 1
                point = points[last]
                kind = kind_of(point, table)
                found[text, 5] += kind in (STOP, ASCII_STOP) or point in (
                    0x2E,
                    0x2026,
                    0x300D,
                    0x300F,
                )
            begin = i + 1
            solid = False
        _sum_up(points, begins, sizes, count, found[text])
    return found


@compiled
def _sentences(
    points: NDArray[Any], starts: NDArray[Any], table: NDArray[Any]
) -> NDArray[np.int64]:
    found = np.zeros((len(starts) - 1, 6), np.int64)
    room = np.max(starts[1:] - starts[:-1]) + 1 if len(starts) > 1 else 1
    begins = np.empty(room, np.int64)
    sizes = np.empty(room, np.int64)
    for text in range(len(starts) - 1):
        count = 0
        begin = starts[text]
        end = starts[text + 1]
        last = -1
        solid = False
        for i in range(begin, end + 1):
            kind = kind_of(points[i], table) if i < end else NEWLINE
            stop = kind in (STOP, ASCII_STOP)
            if kind != NEWLINE and not stop:
                if not _blank(kind):
                    solid = True
                    last = i
                continue
            if solid:
                begins[count] = begin
                sizes[count] = i - begin + stop
                count += 1
                if not stop:
                    found[text, 5] += _is_ellipsis(points, begin, last)
            begin = i + 1
            solid = False
        _sum_up(points, begins, sizes, count, found[text])
    return found


@compiled
def _is_ellipsis(points: NDArray[Any], begin: int, last: int) -> bool:
    if points[last] in (0x2026, 0x2025, 0x30FB):
        return True
    return last - begin >= 2 and points[last] == points[last - 1] == points[last - 2] == 0x2E


@compiled
def _sum_up(
    points: NDArray[Any],
    begins: NDArray[Any],
    sizes: NDArray[Any],
    count: int,
    found: NDArray[Any],
) -> None:
    """Write count, characters, longest, repeated and repeated characters of some pieces."""
    slots = 4
    while slots < 2 * count:
        slots *= 2
    seen = np.full(slots, -1, np.int64)
    found[0] = count
    for piece in range(count):
        size = sizes[piece]
        found[1] += size
        found[2] = max(found[2], size)
        slot = hash_of(points, begins[piece], size) & np.uint64(slots - 1)
        while seen[slot] >= 0 and not same(
            points, begins[seen[slot]], sizes[seen[slot]], begins[piece], size
        ):
            slot = (slot + np.uint64(1)) & np.uint64(slots - 1)
        if seen[slot] < 0:
            seen[slot] = piece
        else:
            found[3] += 1
            found[4] += size


@compiled
def hash_of(points: NDArray[Any], begin: int, size: int) -> Any:
    """A 64-bit hash of a part of a text."""
    value = _BASIS
    for i in range(begin, begin + size):
        value = (value ^ np.uint64(points[i])) * _PRIME
    return value ^ (value >> _HALF)


@compiled
def same(points: NDArray[Any], one: int, one_size: int, other: int, other_size: int) -> bool:
    """Whether two parts of a text are equal."""
    if one_size != other_size:
        return False
    for k in range(one_size):  # noqa: SIM110 (a generator cannot be compiled)
        if points[one + k] != points[other + k]:
            return False
    return True


@compiled
def _first_kana(
    points: NDArray[Any], starts: NDArray[Any], table: NDArray[Any]
) -> NDArray[np.int64]:
    found = np.full(len(starts) - 1, -1, np.int64)
    for text in range(len(starts) - 1):
        for i in range(starts[text], starts[text + 1]):
            kind = kind_of(points[i], table)
            if kind in (HIRAGANA, KATAKANA):
                found[text] = i - starts[text]
                break
    return found
