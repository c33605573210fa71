"""Products of matrices with the vectors of a batch, the rows shared out among the members of a team.

What a vector gets does not depend on the others in its batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from kajiya.inference.rwkv.tiles import WIDE_LANES, integer_tile, multiplies_integers, tile
from kajiya.models.compiled import inlined, loop

ROWS = 4  # of a matrix, in one go
_TINY = np.float32(1e-12)

_tile_4x4, _tile_4x2, _tile_4x1 = tile(4, 4), tile(4, 2), tile(4, 1)
_tile_1x4, _tile_1x2, _tile_1x1 = tile(1, 4), tile(1, 2), tile(1, 1)
_integers_4x4, _integers_4x2 = integer_tile(4, 4), integer_tile(4, 2)
_integers_4x1, _integers_1x1 = integer_tile(4, 1), integer_tile(1, 1)


@inlined
def share(count: Any, member: Any, members: Any) -> Any:
    """The rows of one member: a range, the borders at multiples of `ROWS`."""
    blocks = (count + ROWS - 1) // ROWS
    first = blocks * member // members * ROWS
    return first, min(count, blocks * (member + 1) // members * ROWS)


@loop
def multiply(
    matrix: Any, layer: int, x: Any, batch: int, out: Any, member: int, members: int
) -> None:
    """This member's rows of `out[b]` = matrix · x[b], with integers where that is faster."""
    first, last = share(out.shape[1], member, members)
    _chosen(matrix.values[layer], matrix.factor[layer], x, batch, out, first, last)


@loop
def multiply_exactly(
    matrix: Any, layer: int, x: Any, batch: int, out: Any, first: int, last: int
) -> None:
    """Rows `first` ≤ i < `last` of `out[b]` = matrix · x[b], with `x` as it is."""
    _product(matrix.values[layer], matrix.factor[layer], x, batch, out, first, last)


@loop
def adapt(
    a: Any,
    b: Any,
    layer: int,
    shares: Any,
    x: Any,
    out: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """What adapters add to the product of a layer: out[s] += Σ shares[s, n] · x[s] · a[n]ᵀ · b[n] over n."""
    first, last = share(out.shape[1], member, members)
    rank = a.shape[2]
    sums = np.empty(16, np.float32)
    for s in range(len(shares)):
        for n in range(len(a)):
            part = shares[s, n]
            if part == 0:
                continue
            for rows in range(0, rank, ROWS):
                _tile_4x1(a[n, layer], rows, x, s, sums)
                low = part * sums[0], part * sums[1], part * sums[2], part * sums[3]
                up = b[n, layer, rows : rows + ROWS]
                for i in range(first, last):
                    out[s, i] += (
                        low[0] * up[0, i]
                        + low[1] * up[1, i]
                        + low[2] * up[2, i]
                        + low[3] * up[3, i]
                    )


@loop
def _product(w: Any, factor: Any, x: Any, batch: int, out: Any, first: int, last: int) -> None:
    """`out[b, i]` = factor[i] · w[i] · x[b] for rows `first` ≤ i < `last`."""
    sums = np.empty(16, np.float32)
    i = first
    while i < last:
        four = i + ROWS <= last
        b = 0
        while b < batch:
            if batch - b >= 4:
                vectors = 4
                if four:
                    _tile_4x4(w, i, x, b, sums)
                else:
                    _tile_1x4(w, i, x, b, sums)
            elif batch - b >= 2:
                vectors = 2
                if four:
                    _tile_4x2(w, i, x, b, sums)
                else:
                    _tile_1x2(w, i, x, b, sums)
            else:
                vectors = 1
                if four:
                    _tile_4x1(w, i, x, b, sums)
                else:
                    _tile_1x1(w, i, x, b, sums)
            for row in range(ROWS if four else 1):
                for s in range(vectors):
                    out[b + s, i + row] = sums[row * vectors + s] * factor[i + row]
            b += vectors
        i += ROWS if four else 1


@loop
def _quantise(x: Any, q: Any, scale: Any) -> None:
    """`x` ≈ scale[b] · q[b] in 16-bit integers, small enough for sums of 127 times them in 32 bits."""
    batch, columns = q.shape
    most = np.float32(min(32767, (2**31 - 1) // (127 * columns)))
    for b in range(batch):
        largest = _TINY
        for j in range(columns):
            largest = max(largest, abs(x[b, j]))
        scale[b] = largest / most
        inverse = most / largest
        for j in range(columns):
            q[b, j] = np.int16(np.rint(x[b, j] * inverse))


@loop
def _integer_product(
    w: Any, factor: Any, x: Any, batch: int, out: Any, first: int, last: int
) -> None:
    """As `_product`, for `w` of 8 or 4 bits, with `x` rounded to some 13 bits."""
    q, scale = np.empty((batch, x.shape[1]), np.int16), np.empty(batch, np.float32)
    _quantise(x, q, scale)
    sums = np.empty(16, np.float32)
    whole = first + (last - first) // ROWS * ROWS
    for i in range(first, whole, ROWS):
        b = 0
        while b < batch:
            if batch - b >= 4:
                vectors = 4
                _integers_4x4(w, i, q, b, sums)
            elif batch - b >= 2:
                vectors = 2
                _integers_4x2(w, i, q, b, sums)
            else:
                vectors = 1
                _integers_4x1(w, i, q, b, sums)
            for row in range(ROWS):
                for s in range(vectors):
                    total = sums[row * vectors + s]
                    out[b + s, i + row] = total * factor[i + row] * scale[b + s]
            b += vectors
    for i in range(whole, last):
        for b in range(batch):
            _integers_1x1(w, i, q, b, sums)
            out[b, i] = sums[0] * factor[i] * scale[b]


def _chosen(w, factor, x, batch, out, first, last):
    """`_integer_product` where the weights have 8 or 4 bits and the processor is made for it, or `_product`."""


@overload(_chosen)
def _fastest(w, factor, x, batch, out, first, last):
    if w.dtype not in (types.int8, types.uint8) or not multiplies_integers():
        return lambda w, factor, x, batch, out, first, last: _product(
            w, factor, x, batch, out, first, last
        )

    def fastest(w, factor, x, batch, out, first, last):
        if x.shape[1] % WIDE_LANES == 0:
            _integer_product(w, factor, x, batch, out, first, last)
        else:
            _product(w, factor, x, batch, out, first, last)

    return fastest
