"""Texts made ready to be judged and trained on: one form for what looks the same, and no footers.

Each step keeps, replaces or removes characters; none invents any. So every character that is left has its place in
the original (`OffsetMap`).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.core.text import OffsetMap
from kajiya.corpus.compiled import compiled
from kajiya.corpus.rules.characters import DIGIT, HIRAGANA, KATAKANA, kind_of, kinds
from kajiya.corpus.rules.wordlists import WordSearch
from kajiya.corpus.texts import Texts

_REMOVED = 0xFFFFFFFF
_COMMA, _FULL_STOP = 0xFF0C, 0xFF0E  # ， ．
_VOICED, _SEMI_VOICED = 0x3099, 0x309A  # combining
_INVISIBLE = [0x00AD, 0x200B, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


def normalise(
    texts: Texts,
    *,
    punctuation: bool,
    width: bool,
    control: bool,
    offsets: OffsetMap | None = None,
) -> tuple[Texts, OffsetMap | None]:
    """Replace what is meant as the same by one form.

    `punctuation`: ， ． become 、 。 except between digits. `width`: letters and digits of full width become ASCII,
    katakana of half width of full width, blanks a space, and a kana with a mark of its own one character;
    all as in NFKC, which does more. `control`: line ends become newlines, and control characters and
    invisible ones go.

    With the offsets of a single text, those of the result are returned too.
    """
    points = np.empty(len(texts.points), np.uint32)
    origins = np.empty((len(points) if offsets is not None else 0, 2), np.int64)
    ends = _normalise(
        texts.points,
        texts.starts,
        _table(width, control),
        _composed(),
        kinds(),
        punctuation,
        width,
        points,
        origins,
    )
    result = Texts(points[: ends[-1]], ends)
    if offsets is None:
        return result, None
    firsts, lasts = origins[: ends[-1]].T
    return result, OffsetMap(offsets.starts[firsts], offsets.ends[lasts])


def outside_ascii_runs(texts: Texts, shortest: int) -> NDArray[np.bool_]:
    """Which characters are not in a run of at least `shortest` printable ASCII characters."""
    return _outside_ascii_runs(texts.points, texts.starts, shortest)


def in_lines_with_kana(texts: Texts) -> NDArray[np.bool_]:
    """Which characters are in a line with hiragana or katakana, or in an empty one. Line ends go with their line."""
    return _in_lines_with_kana(texts.points, texts.starts, kinds())


def before_footer(texts: Texts, words: WordSearch, lines: int, share: float) -> NDArray[np.bool_]:
    """Which characters are not in a footer: one of the last `lines` lines, where words of the (only) list of `words`

    make up more than `share` of the characters. Lines of blanks do not count as lines.
    """
    begins, ends, nexts = _last_lines(texts.points, texts.starts, lines)
    covered = words.find(texts.points, begins, ends).covered[:, 0]
    footers = covered > share * (ends - begins)
    kept = np.ones(len(texts.points), np.bool_)
    for begin, after in zip(begins[footers], nexts[footers], strict=True):
        kept[begin:after] = False
    return kept


@cache
def _table(width: bool, control: bool) -> NDArray[np.uint32]:
    """What each code point below 0x10000 becomes by itself."""
    table = np.arange(0x10000, dtype=np.uint32)
    if width:
        for first, last in ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A), (0xFF61, 0xFF9F)):
            for point in range(first, last + 1):
                table[point] = ord(unicodedata.normalize("NFKC", chr(point)))
        table[[0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]] = 0x20
    if control:
        table[[*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0), *_INVISIBLE]] = _REMOVED
        table[[0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029]] = 0x0A
    table.flags.writeable = False
    return table


@cache
def _composed() -> NDArray[np.uint32]:
    """`[2, 0x100]`: the kana from 0x3000 on with a voiced and with a semi-voiced mark; 0 where there is none."""
    table = np.zeros((2, 0x100), np.uint32)
    for row, mark in enumerate((_VOICED, _SEMI_VOICED)):
        for point in range(0x3041, 0x3100):
            whole = unicodedata.normalize("NFC", chr(point) + chr(mark))
            if len(whole) == 1:
                table[row, point - 0x3000] = ord(whole)
    table.flags.writeable = False
    return table


@compiled
def _normalise(
    points: NDArray[Any],
    starts: NDArray[Any],
    table: NDArray[Any],
    composed: NDArray[Any],
    kind_table: NDArray[Any],
    punctuation: bool,
    width: bool,
    result: NDArray[Any],
    origins: NDArray[Any],
) -> NDArray[np.int64]:
    ends = np.zeros(len(starts), np.int64)
    at = 0
    for text in range(len(starts) - 1):
        begin = starts[text]
        end = starts[text + 1]
        for i in range(begin, end):
            point = points[i]
            changed = table[point] if point < 0x10000 else point
            if changed == _REMOVED:
                continue
            if changed == 0x0A and point == 0x0D and i + 1 < end and points[i + 1] == 0x0A:
                continue
            if point in (_COMMA, _FULL_STOP):
                between = (
                    begin < i < end - 1
                    and kind_of(points[i - 1], kind_table) == DIGIT
                    and kind_of(points[i + 1], kind_table) == DIGIT
                )
                if between and width:
                    changed = np.uint32(0x2C if point == _COMMA else 0x2E)
                elif punctuation and not between:
                    changed = np.uint32(0x3001 if point == _COMMA else 0x3002)
            if width and changed in (_VOICED, _SEMI_VOICED) and at > ends[text]:
                before = result[at - 1]
                if 0x3000 <= before < 0x3100:
                    whole = composed[changed - _VOICED, before - 0x3000]
                    if whole:
                        result[at - 1] = whole
                        if len(origins):
                            origins[at - 1, 1] = i
                        continue
            result[at] = changed
            if len(origins):
                origins[at] = i
            at += 1
        ends[text + 1] = at
    return ends


@compiled
def _outside_ascii_runs(
    points: NDArray[Any], starts: NDArray[Any], shortest: int
) -> NDArray[np.bool_]:
    kept = np.ones(len(points), np.bool_)
    for text in range(len(starts) - 1):
        begin = starts[text]
        for i in range(starts[text], starts[text + 1] + 1):
            if i < starts[text + 1] and 0x20 <= points[i] < 0x7F:
                continue
            if i - begin >= shortest:
                kept[begin:i] = False
            begin = i + 1
    return kept


@compiled
def _in_lines_with_kana(
    points: NDArray[Any], starts: NDArray[Any], table: NDArray[Any]
) -> NDArray[np.bool_]:
    kept = np.ones(len(points), np.bool_)
    for text in range(len(starts) - 1):
        begin = starts[text]
        end = starts[text + 1]
        kana = False
        for i in range(begin, end + 1):
            if i < end and points[i] != 0x0A:
                kana |= kind_of(points[i], table) in (HIRAGANA, KATAKANA)
                continue
            if not kana and i > begin:
                kept[begin : min(i + 1, end)] = False
            begin = i + 1
            kana = False
    return kept


@compiled
def _last_lines(
    points: NDArray[Any], starts: NDArray[Any], wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where each of the last lines begins, where it ends, and where that after it begins."""
    begins = np.empty((len(starts) - 1) * wanted, np.int64)
    ends = np.empty((len(starts) - 1) * wanted, np.int64)
    nexts = np.empty((len(starts) - 1) * wanted, np.int64)
    at = 0
    for text in range(len(starts) - 1):
        found = 0
        end = starts[text + 1]
        solid = False
        i = end - 1
        while i >= starts[text] - 1 and found < wanted:
            if i >= starts[text] and points[i] != 0x0A:
                solid |= points[i] not in (0x20, 0x09, 0x3000)
            else:
                if solid:
                    begins[at] = i + 1
                    ends[at] = end
                    nexts[at] = min(end + 1, starts[text + 1])
                    at += 1
                    found += 1
                end = i
                solid = False
            i -= 1
    return begins[:at], ends[:at], nexts[:at]
