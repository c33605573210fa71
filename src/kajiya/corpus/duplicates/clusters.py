"""From sketches on the disk to clusters of duplicates.

A cluster is what chains of resemblance connect. Within it the documents are gone through in the order in
which they are wanted: one that resembles none of those kept is kept, any other is a duplicate of the
first that it resembles. So nothing is dropped for a document that is only a friend of a friend.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.corpus.duplicates import loops
from kajiya.corpus.duplicates.rows import Rows, equal_runs

_AT_ONCE = 1 << 15  # signatures in memory
_CENTRES = 8  # documents of a bucket that the others of it are compared with


def clusters(keys: list[Rows], signatures: Rows, enough: int) -> NDArray[np.int64]:
    """The root (least row) of each row's cluster, `[rows]`.

    Rows with an equal key in any band are compared; those with `enough` equal places are joined.
    """
    parents = np.arange(signatures.count, dtype=np.int64)
    for band in keys:
        for values, rows in equal_runs(band):
            begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
            found = loops.roots(parents, rows)
            low = np.minimum.reduceat(found, begins)
            high = np.maximum.reduceat(found, begins)
            apart = np.repeat(low != high, np.diff(np.append(begins, len(rows))))
            for some, centres, _ in stars(rows[apart], values[apart], signatures, enough, _CENTRES):
                loops.join(parents, some, centres)
    return np.asarray(loops.roots(parents, np.arange(len(parents))))


def stars(
    rows: NDArray[np.int64], groups: NDArray[Any], signatures: Rows, enough: int, most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """`loops.stars` over signatures on the disk: rows, their centres and equal places, in parts.

    `rows` come group by group, in the order in which they are wanted.
    """
    carried = rows[:0]  # the centres of a group that a part ended in; they lead the next part
    for start in range(0, len(rows), _AT_ONCE):
        part = np.concatenate([carried, rows[start : start + _AT_ONCE]])
        names = np.concatenate(
            [np.repeat(groups[start], len(carried)), groups[start : start + _AT_ONCE]]
        )
        centres, equal = loops.stars(signatures.take(part), names, enough, most)
        new = slice(len(carried), None)
        yield part[new], part[centres[new]], equal[new]
        end = start + _AT_ONCE
        if end < len(rows) and groups[end] == groups[end - 1]:
            own = (names == names[-1]) & (centres == np.arange(len(part)))
            carried = part[own][:most]
        else:
            carried = rows[:0]
