"""Lists of words, and how often texts hold them: all lists in one pass over the text.

A list is a text file with a word a line; what follows `#` is a remark. Words of Latin letters are found in any
case. A word that begins or ends with a Latin letter or a katakana is not found within a longer run of such
letters: サック is not in リュックサック, nor `sex` in Sussex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.compiled import compiled
from kajiya.corpus.rules.characters import KATAKANA, LATIN, PROLONGED, kind_of, kinds

_FREE = np.uint64(0xFFFFFFFFFFFFFFFF)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(21)


def read_words(path: Path) -> list[str]:
    """The words of a list. Raises `DataError` naming the file, and the line that is not UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            tr(
                f"the word list cannot be read: {error.strerror}",
                f"語のリストを読めません: {error.strerror}",
            ),
            where=str(path),
        ) from None
    found = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            word = line.decode("utf-8").partition("#")[0].strip()
        except UnicodeDecodeError:
            raise DataError(
                tr("the line is not UTF-8", "UTF-8 ではない行があります"),
                where=f"{path}:{number}",
                fix=tr("save the list as UTF-8", "UTF-8 で保存し直してください"),
            ) from None
        if word:
            found.append(word)
    return found


@dataclass(frozen=True)
class Matches:
    """`[parts, lists]` both: how often words of a list stand in a part of a text, and over how many characters.

    Counted from left to right, the longest word first, none within another. Characters are those within any word.
    """

    count: NDArray[np.int64]
    covered: NDArray[np.int64]


class WordSearch:
    """Finds the words of several named lists. `names` are in the order of the columns of `Matches`."""

    def __init__(self, lists: Mapping[str, Sequence[str]]) -> None:
        self.names = tuple(lists)
        edges: dict[tuple[int, int], int] = {}
        masks = [0]
        for number, words in enumerate(lists.values()):
            for word in words:
                node = 0
                for character in word:
                    step = (node, int(_fold(ord(character))))
                    node = edges.setdefault(step, len(masks))
                    if node == len(masks):
                        masks.append(0)
                masks[node] |= 1 << number
        self._masks = np.array(masks, np.uint32)
        self._first = np.zeros(0x10000, np.int32)  # where most searches end at once
        bits = max(4, (2 * len(edges)).bit_length())
        self._table = np.full(2 << bits, _FREE, np.uint64)
        for (node, point), child in edges.items():
            if node == 0 and point < 0x10000:
                self._first[point] = child
            _insert(self._table, np.uint64(node << 21 | point), np.uint64(child))

    def find(
        self, points: NDArray[np.uint32], begins: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> Matches:
        """What is found in each of the parts `points[begins[i]:ends[i]]`."""
        found = _find(
            points, begins, ends, self._first, self._table, self._masks, kinds(), len(self.names)
        )
        return Matches(*found)


def _fold(point: Any) -> Any:
    return point + 32 if 0x41 <= point <= 0x5A else point


_folded = compiled(_fold)


@compiled
def _slot(table: NDArray[Any], key: Any) -> Any:
    """Where `key` is in the table, or would be."""
    mask = np.uint64(len(table) // 2 - 1)
    slot = ((key * _MIX) >> np.uint64(20)) & mask
    while table[np.uint64(2) * slot] != key and table[np.uint64(2) * slot] != _FREE:
        slot = (slot + np.uint64(1)) & mask
    return np.uint64(2) * slot


@compiled
def _insert(table: NDArray[Any], key: Any, value: Any) -> None:
    slot = _slot(table, key)
    table[slot] = key
    table[slot + np.uint64(1)] = value


@compiled
def _step(table: NDArray[Any], node: Any, point: Any) -> Any:
    """The node that `point` leads to; 0 for none."""
    slot = _slot(table, np.uint64(node) << _SHIFT | np.uint64(point))
    return np.int64(0) if table[slot] == _FREE else np.int64(table[slot + np.uint64(1)])


@compiled
def _joined(points: NDArray[Any], i: int, kind_table: NDArray[Any]) -> bool:
    """Whether a word's edge between `i` and `i + 1` is within a run of Latin letters or of katakana."""
    one = kind_of(points[i], kind_table)
    other = kind_of(points[i + 1], kind_table)
    if one == LATIN or other == LATIN:
        return one == other
    return one in (KATAKANA, PROLONGED) and other in (KATAKANA, PROLONGED)


@compiled
def _find(
    points: NDArray[Any],
    begins: NDArray[Any],
    ends: NDArray[Any],
    first: NDArray[Any],
    table: NDArray[Any],
    masks: NDArray[Any],
    kind_table: NDArray[Any],
    lists: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = np.zeros((len(begins), lists), np.int64)
    covered = np.zeros((len(begins), lists), np.int64)
    longest = np.zeros(lists, np.int64)
    free = np.zeros(lists, np.int64)  # from where on a word counts
    bare = np.zeros(lists, np.int64)  # from where on no character is covered
    for part in range(len(begins)):
        begin = begins[part]
        end = ends[part]
        free[:] = begin
        bare[:] = begin
        for i in range(begin, end):
            point = _folded(points[i])
            node = first[point] if point < 0x10000 else _step(table, 0, point)
            if node == 0:
                continue
            longest[:] = 0
            j = i + 1
            while node:
                mask = masks[node]
                if mask and not (
                    (i > begin and _joined(points, i - 1, kind_table))
                    or (j < end and _joined(points, j - 1, kind_table))
                ):
                    for k in range(lists):
                        if mask >> k & 1:
                            longest[k] = j - i
                node = _step(table, node, _folded(points[j])) if j < end else 0
                j += 1
            for k in range(lists):
                if longest[k]:
                    stop = i + longest[k]
                    covered[part, k] += max(0, stop - max(i, bare[k]))
                    bare[k] = max(bare[k], stop)
                    if i >= free[k]:
                        count[part, k] += 1
                        free[k] = stop
    return count, covered
