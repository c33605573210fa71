"""What of a text counts when texts are compared: not its width, case, spaces or line ends.

Each character is taken in its compatible form (NFKC) and lower case; white space and invisible characters
are left out, and where asked punctuation and symbols too. Voiced marks join their kana; other combining
marks stay as they come. Of several lines joined, the result is that of each line joined.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.corpus.hashing import fold
from kajiya.corpus.utf8 import memory

_VOICED = ("\u3099", "\u309a")
_KANA = range(0x3040, 0x3100)
# All others are as they are: ideographs, syllables, surrogates, private use.
_MAY_CHANGE = (
    range(0x3400),
    range(0xA000, 0xAC00),
    range(0xF900, 0x20000),
    range(0x2F800, 0x2FA20),
    range(0xE0000, 0xE1000),
)


@dataclass(frozen=True)
class Compared:
    """Texts as they are compared: UTF-8 in a row, where each begins (`[texts + 1]`), and how many
    characters each has."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def compared(texts: pl.Series, marks: bool = True) -> Compared:
    """The texts as they are compared, without punctuation and symbols if not `marks`."""
    return Compared(*fold(*memory(texts), *_forms(marks), *_voicing()))


@cache
def _forms(marks: bool) -> tuple[Any, Any, Any]:
    """The form of each character: number of its form (0 is itself), where forms begin, their UTF-8."""
    numbers = np.zeros(0x110000, np.uint16)
    known: dict[bytes, int] = {}
    for code in chain(*_MAY_CHANGE):
        character = chr(code)
        form = unicodedata.normalize("NFKC", character).lower()
        form = "".join(c for c in form if not _left_out(c, marks))
        if form != character:
            numbers[code] = known.setdefault(form.encode(), len(known) + 1)
    starts = np.cumsum([0, 0, *map(len, known)], dtype=np.int64)
    return numbers, starts, np.frombuffer(b"".join(known) + b"\0", np.uint8)


def _left_out(character: str, marks: bool) -> bool:
    category = unicodedata.category(character)
    return (
        character.isspace()
        or category in ("Cc", "Cf", "Zs", "Zl", "Zp")
        or (not marks and category[0] in "PS")
    )


@cache
def _voicing() -> tuple[Any]:
    """`[2, kana]`: the last code point of a kana with each voiced mark, 0 where there is none."""
    joined = np.zeros((2, len(_KANA)), np.uint32)
    for mark, combining in enumerate(_VOICED):
        for place, code in enumerate(_KANA):
            both = unicodedata.normalize("NFC", chr(code) + combining)
            joined[mark, place] = ord(both) if len(both) == 1 else 0
    return (joined,)
