"""Kinds of characters, as the rules for Japanese text tell them apart.

Each code point has one kind. Beyond the Basic Multilingual Plane only kanji are told from the rest.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.corpus.compiled import compiled
from kajiya.corpus.texts import Texts

OTHER = 0
HIRAGANA = 1
KATAKANA = 2
KANJI = 3
STOP = 4  # 。 ． ！ ？
COMMA = 5  # 、 ，
PROLONGED = 6  # ー
LATIN = 7
DIGIT = 8
LETTER = 9  # of any other script
SPACE = 10
NEWLINE = 11
ASCII_STOP = 12  # ! ?
CONTROL = 13
KINDS = 14


@cache
def kinds() -> NDArray[np.uint8]:
    """The kind of each code point below 0x10000."""
    table = np.zeros(0x10000, np.uint8)
    for point in range(0x80, 0x10000):
        category = unicodedata.category(chr(point))
        if category[0] in "LM":
            table[point] = LETTER
        elif category == "Nd":
            table[point] = DIGIT
        elif category[0] == "Z":
            table[point] = SPACE
        elif category in ("Cc", "Cf"):
            table[point] = CONTROL
    for first, last, kind in (
        (0x00, 0x1F, CONTROL),
        (0x7F, 0x7F, CONTROL),
        (0x09, 0x09, SPACE),
        (0x0A, 0x0A, NEWLINE),
        (0x0D, 0x0D, SPACE),
        (0x20, 0x20, SPACE),
        (0x30, 0x39, DIGIT),
        (0x41, 0x5A, LATIN),
        (0x61, 0x7A, LATIN),
        (0xC0, 0x24F, LATIN),
        (0xD7, 0xD7, OTHER),
        (0xF7, 0xF7, OTHER),
        (0x1E00, 0x1EFF, LATIN),
        (0xFF21, 0xFF3A, LATIN),
        (0xFF41, 0xFF5A, LATIN),
        (0x3041, 0x3096, HIRAGANA),
        (0x30A1, 0x30FA, KATAKANA),
        (0xFF66, 0xFF6F, KATAKANA),
        (0xFF71, 0xFF9D, KATAKANA),
        (0x3005, 0x3005, KANJI),
        (0x3007, 0x3007, KANJI),
        (0x303B, 0x303B, KANJI),
        (0x3400, 0x9FFF, KANJI),
        (0xF900, 0xFAFF, KANJI),
    ):
        table[first : last + 1] = kind
    for characters, kind in (
        ("。．！？", STOP),
        ("、，", COMMA),
        ("!?", ASCII_STOP),
        ("ーｰ", PROLONGED),
    ):
        table[[ord(character) for character in characters]] = kind
    table.flags.writeable = False
    return table


def count_kinds(texts: Texts) -> NDArray[np.int64]:
    """How many characters of each kind each text has: `[texts, KINDS]`."""
    return _count_kinds(texts.points, texts.starts, kinds())


@compiled
def kind_of(point: Any, table: NDArray[Any]) -> int:
    """The kind of a code point; `table` is `kinds()`."""
    if point < 0x10000:
        return int(table[point])
    return KANJI if 0x20000 <= point < 0x40000 else OTHER


@compiled
def _count_kinds(
    points: NDArray[Any], starts: NDArray[Any], table: NDArray[Any]
) -> NDArray[np.int64]:
    counts = np.zeros((len(starts) - 1, KINDS), np.int64)
    for text in range(len(starts) - 1):
        for i in range(starts[text], starts[text + 1]):
            counts[text, kind_of(points[i], table)] += 1
    return counts
