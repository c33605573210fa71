"""One token further for a batch of sequences, all layers of an RWKV-7 in one compiled function.

The threads of a team share out the rows of each matrix and the heads of each layer, and meet between the
parts that need each other's results. What a sequence gets does not depend on the others in its batch.
(Peng et al. 2025, arXiv:2503.14456; the same formulas as `kajiya.models.rwkv7.core`.)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from kajiya.inference.rwkv.team import meet
from kajiya.inference.rwkv.tiles import WIDE_LANES, integer_tile, multiplies_integers, tile
from kajiya.inference.rwkv.weights import VECTORS, Weights
from kajiya.models.compiled import exp, inlined, loop, sigmoid, wide

_STRONGEST = np.float32(math.exp(-0.5))  # the decay is exp(-exp(-0.5) sigmoid(·))
_ONE, _TWO = np.float32(1), np.float32(2)
_TINY = np.float32(1e-12)
_ROWS = 4

_tile_4x4, _tile_4x2, _tile_4x1 = tile(4, 4), tile(4, 2), tile(4, 1)
_tile_1x4, _tile_1x2, _tile_1x1 = tile(1, 4), tile(1, 2), tile(1, 1)
_integers_4x4, _integers_4x2 = integer_tile(4, 4), integer_tile(4, 2)
_integers_4x1, _integers_1x1 = integer_tile(4, 1), integer_tile(1, 1)

(
    _LN1_GAIN,
    _LN1_BIAS,
    _LN2_GAIN,
    _LN2_BIAS,
    _X_R,
    _X_K,
    _X_V,
    _X_W,
    _X_A,
    _X_G,
    _X_FFN,
    _W0,
    _A0,
    _V0,
    _K_K,
    _K_A,
    _R_K,
    _LN_X_GAIN,
    _LN_X_BIAS,
) = range(len(VECTORS))


class Memory(NamedTuple):
    """What stays between the parts of a step, for up to `batch` sequences, in 32 bits.

    `x`, `mixed` `[6, batch, width]` (the inputs of r, k, v, w, a, g), `r`, `k`, `v`, `first` (layer 0's
    v), `y` and the four results `wide_…` of the low-rank pairs are `[batch, width]`.
    """

    x: Any
    mixed: Any
    r: Any
    k: Any
    v: Any
    first: Any
    low_w: Any
    low_a: Any
    low_v: Any
    low_g: Any
    wide_w: Any
    wide_a: Any
    wide_v: Any
    wide_g: Any
    y: Any
    inner: Any
    logits: Any


def allocate(weights: Weights, batch: int) -> Memory:
    """Memory for steps of up to `batch` sequences; its `logits` `[batch, vocabulary]` are the result."""

    def rows(columns: int) -> Any:
        return np.zeros((batch, columns), np.float32)

    width = weights.vectors.shape[2]
    return Memory(
        x=rows(width),
        mixed=np.zeros((6, batch, width), np.float32),
        r=rows(width),
        k=rows(width),
        v=rows(width),
        first=rows(width),
        low_w=rows(weights.w1.values.shape[1]),
        low_a=rows(weights.a1.values.shape[1]),
        low_v=rows(weights.v1.values.shape[1]),
        low_g=rows(weights.g1.values.shape[1]),
        wide_w=rows(width),
        wide_a=rows(width),
        wide_v=rows(width),
        wide_g=rows(width),
        y=rows(width),
        inner=rows(weights.ffn_key.values.shape[1]),
        logits=rows(weights.head.values.shape[1]),
    )


@inlined
def _share(count: Any, member: Any, members: Any) -> Any:
    """The rows of one member: a range, the borders at multiples of `_ROWS`."""
    blocks = (count + _ROWS - 1) // _ROWS
    first = blocks * member // members * _ROWS
    return first, min(count, blocks * (member + 1) // members * _ROWS)


@loop
def _product(w: Any, factor: Any, x: Any, batch: int, out: Any, first: int, last: int) -> None:
    """`out[b, i]` = factor[i] · w[i] · x[b] for rows `first` ≤ i < `last`."""
    sums = np.empty(16, np.float32)
    i = first
    while i < last:
        four = i + _ROWS <= last
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
            for row in range(_ROWS if four else 1):
                for s in range(vectors):
                    out[b + s, i + row] = sums[row * vectors + s] * factor[i + row]
            b += vectors
        i += _ROWS if four else 1


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
    """As `_product`, for 8-bit `w`, with `x` rounded to some 13 bits."""
    q, scale = np.empty((batch, w.shape[1]), np.int16), np.empty(batch, np.float32)
    _quantise(x, q, scale)
    sums = np.empty(16, np.int32)
    whole = first + (last - first) // _ROWS * _ROWS
    for i in range(first, whole, _ROWS):
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
            for row in range(_ROWS):
                for s in range(vectors):
                    total = np.float32(sums[row * vectors + s])
                    out[b + s, i + row] = total * factor[i + row] * scale[b + s]
            b += vectors
    for i in range(whole, last):
        for b in range(batch):
            _integers_1x1(w, i, q, b, sums)
            out[b, i] = np.float32(sums[0]) * factor[i] * scale[b]


def _multiply(w, factor, x, batch, out, first, last):
    """`_integer_product` where the weights have 8 bits and the processor is made for it, or `_product`."""


@overload(_multiply)
def _fastest_product(w, factor, x, batch, out, first, last):
    if w.dtype != types.int8 or not multiplies_integers():
        return lambda w, factor, x, batch, out, first, last: _product(
            w, factor, x, batch, out, first, last
        )

    def chosen(w, factor, x, batch, out, first, last):
        if w.shape[1] % WIDE_LANES == 0:
            _integer_product(w, factor, x, batch, out, first, last)
        else:
            _product(w, factor, x, batch, out, first, last)

    return chosen


@loop
def _adapt(
    a: Any,
    b: Any,
    layer: int,
    shares: Any,
    x: Any,
    out: Any,
    first: int,
    last: int,
) -> None:
    """`out[s]` += Σ shares[s, n] · b[n] · a[n] · x[s] for rows `first` ≤ i < `last`, adapters n."""
    rank = a.shape[2]
    sums, low = np.empty(16, np.float32), np.empty((1, rank), np.float32)
    for s in range(len(shares)):
        for n in range(len(a)):
            share = shares[s, n]
            if share == 0:
                continue
            for i in range(0, rank, _ROWS):
                _tile_4x1(a[n, layer], i, x, s, sums)
                for row in range(_ROWS):
                    low[0, i + row] = share * sums[row]
            for i in range(first, last):
                _tile_1x1(b[n, layer], i, low, 0, sums)
                out[s, i] += sums[0]


@inlined
def _normalise(x: Any, gain: Any, bias: Any, eps: Any, out: Any) -> None:
    """The layer norm of one vector."""
    width = len(x)
    mean = np.float32(0)
    for j in range(width):
        mean += x[j]
    mean /= np.float32(width)
    square = np.float32(0)
    for j in range(width):
        off = x[j] - mean
        square += off * off
    inverse = _ONE / np.sqrt(square / np.float32(width) + np.float32(eps))
    for j in range(width):
        out[j] = (x[j] - mean) * inverse * gain[j] + bias[j]


@loop
def _head(p: Any, eps: float, m: Any, b: int, start: int, layer: int, state: Any) -> None:
    """One head of one sequence: `state` `[value, key]` a token further, `m.y` its gated output."""
    size = len(state)
    end = start + size
    r, k, v, y = m.r[b, start:end], m.k[b, start:end], m.v[b, start:end], m.y[b, start:end]
    w, a, gate = m.wide_w[b, start:end], m.wide_a[b, start:end], m.wide_g[b, start:end]
    w0, a0, r_k = p[_W0, start:end], p[_A0, start:end], p[_R_K, start:end]
    k_k, k_a = p[_K_K, start:end], p[_K_A, start:end]
    decay, away, back = (
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
    )
    if layer == 0:
        for j in range(size):
            m.first[b, start + j] = v[j]
    else:
        v0, share, first = p[_V0, start:end], m.wide_v[b, start:end], m.first[b, start:end]
        for j in range(size):
            v[j] += (first[j] - v[j]) * sigmoid(v0[j] + share[j])
    length, bonus = np.float32(0), np.float32(0)
    for j in range(size):
        decay[j] = exp(-_STRONGEST * sigmoid(w0[j] + w[j]))
        away[j] = k[j] * k_k[j]
        length += away[j] * away[j]
    inverse = _ONE / max(np.sqrt(length), _TINY)
    for j in range(size):
        rate = sigmoid(a0[j] + a[j])
        away[j] *= inverse
        back[j] = away[j] * rate
        k[j] *= _ONE + (rate - _ONE) * k_a[j]
        bonus += r[j] * k[j] * r_k[j]
    for i in range(size):
        row = state[i]
        removed = np.float32(0)
        for j in range(size):
            removed += row[j] * away[j]
        value, out = v[i], np.float32(0)
        for j in range(size):
            row[j] = row[j] * decay[j] + value * k[j] - removed * back[j]
        for j in range(size):
            out += row[j] * r[j]
        y[i] = out
    _normalise(y, p[_LN_X_GAIN, start:end], p[_LN_X_BIAS, start:end], eps, y)
    for i in range(size):
        y[i] = (y[i] + bonus * v[i]) * gate[i]


@loop
def _tanh(x: Any, batch: int, first: int, last: int) -> None:
    for b in range(batch):
        for i in range(first, last):
            x[b, i] = _TWO * sigmoid(_TWO * x[b, i]) - _ONE


@loop
def _sigmoid(x: Any, batch: int, first: int, last: int) -> None:
    for b in range(batch):
        for i in range(first, last):
            x[b, i] = sigmoid(x[b, i])


@loop
def _squared_relu(x: Any, batch: int, first: int, last: int) -> None:
    for b in range(batch):
        for i in range(first, last):
            positive = max(x[b, i], np.float32(0))
            x[b, i] = positive * positive


@loop
def _add(x: Any, more: Any, batch: int, first: int, last: int) -> None:
    for b in range(batch):
        for i in range(first, last):
            x[b, i] += more[b, i]


@loop
def read_tokens(weights: Any, m: Any, tokens: Any, member: int, members: int) -> None:
    """`m.x` = the normed embeddings of `tokens` `[batch]`."""
    norm = weights.around
    for b in range(member, len(tokens), members):
        row, x = weights.embedding[tokens[b]], m.x[b]
        for j in range(len(x)):
            x[j] = wide(row[j])
        _normalise(x, norm[0], norm[1], weights.norm_eps, x)


@loop
def mix_time(
    weights: Any, m: Any, layer: int, slots: Any, shift: Any, member: int, members: int
) -> None:
    """`m.mixed` = the six inputs of the time mix; `shift` `[slots, layers, width]` becomes this token's."""
    p, width = weights.vectors[layer], m.x.shape[1]
    h = np.empty(width, np.float32)
    for b in range(member, len(slots), members):
        last = shift[slots[b], layer]
        _normalise(m.x[b], p[_LN1_GAIN], p[_LN1_BIAS], weights.norm_eps, h)
        for kind in range(6):
            share, out = p[_X_R + kind], m.mixed[kind, b]
            for j in range(width):
                out[j] = h[j] + (last[j] - h[j]) * share[j]
        for j in range(width):
            last[j] = h[j]


@loop
def write_heads(
    weights: Any, m: Any, layer: int, slots: Any, wkv: Any, first: int, last: int
) -> None:
    """Heads `first` ≤ h < `last`: `wkv` a token further, `m.y` the gated output."""
    p, size = weights.vectors[layer], wkv.shape[3]
    for head in range(first, last):
        for b in range(len(slots)):
            state = wkv[slots[b], layer, head]
            _head(p, weights.group_norm_eps, m, b, head * size, layer, state)


@loop
def mix_channels(
    weights: Any, m: Any, layer: int, slots: Any, shift: Any, member: int, members: int
) -> None:
    """`m.mixed[0]` = the input of the channel mix; `shift` becomes this token's."""
    p, width = weights.vectors[layer], m.x.shape[1]
    h = np.empty(width, np.float32)
    share = p[_X_FFN]
    for b in range(member, len(slots), members):
        last, out = shift[slots[b], layer], m.mixed[0, b]
        _normalise(m.x[b], p[_LN2_GAIN], p[_LN2_BIAS], weights.norm_eps, h)
        for j in range(width):
            out[j] = h[j] + (last[j] - h[j]) * share[j]
        for j in range(width):
            last[j] = h[j]


@loop
def finish(weights: Any, m: Any, batch: int, member: int, members: int) -> None:
    """`m.y` = what the output matrix reads."""
    norm = weights.around
    for b in range(member, batch, members):
        _normalise(m.x[b], norm[2], norm[3], weights.norm_eps, m.y[b])


@loop
def step(
    weights: Any,
    loras: Any,
    m: Any,
    tokens: Any,
    slots: Any,
    shares: Any,
    att_shift: Any,
    wkv: Any,
    ffn_shift: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """A token further: `tokens` `[batch]` of the sequences in `slots` `[batch]`.

    Each has `shares` `[batch, adapters]` of the adapters in `loras`.

    The states `att_shift`, `ffn_shift` `[slots, layers, width]` and `wkv` `[slots, layers, heads, value,
    key]` are changed in place, `m.logits[:batch]` is the result. To be called by all `members` of a
    team at once, each with its number.
    """
    batch, layers, width = len(tokens), len(weights.vectors), m.x.shape[1]
    heads, size = wkv.shape[2], wkv.shape[3]
    first_head, last_head = heads * member // members, heads * (member + 1) // members
    more = np.empty((batch, width), np.float32)
    read_tokens(weights, m, tokens, member, members)
    for layer in range(layers):
        mix_time(weights, m, layer, slots, att_shift, member, members)
        meet(counters, members)
        one, end = _share(width, member, members)
        w = weights.r
        _multiply(w.values[layer], w.factor[layer], m.mixed[0], batch, m.r, one, end)
        _adapt(loras.r_a, loras.r_b, layer, shares, m.mixed[0], m.r, one, end)
        w = weights.k
        _multiply(w.values[layer], w.factor[layer], m.mixed[1], batch, m.k, one, end)
        _adapt(loras.k_a, loras.k_b, layer, shares, m.mixed[1], m.k, one, end)
        w = weights.v
        _multiply(w.values[layer], w.factor[layer], m.mixed[2], batch, m.v, one, end)
        _adapt(loras.v_a, loras.v_b, layer, shares, m.mixed[2], m.v, one, end)
        w = weights.w1
        one, end = _share(m.low_w.shape[1], member, members)
        _product(w.values[layer], w.factor[layer], m.mixed[3], batch, m.low_w, one, end)
        _tanh(m.low_w, batch, one, end)
        w = weights.a1
        one, end = _share(m.low_a.shape[1], member, members)
        _product(w.values[layer], w.factor[layer], m.mixed[4], batch, m.low_a, one, end)
        w = weights.g1
        one, end = _share(m.low_g.shape[1], member, members)
        _product(w.values[layer], w.factor[layer], m.mixed[5], batch, m.low_g, one, end)
        _sigmoid(m.low_g, batch, one, end)
        if layer > 0:
            w = weights.v1
            one, end = _share(m.low_v.shape[1], member, members)
            _product(w.values[layer], w.factor[layer], m.mixed[2], batch, m.low_v, one, end)
        meet(counters, members)
        one, end = first_head * size, last_head * size
        w = weights.w2
        _product(w.values[layer], w.factor[layer], m.low_w, batch, m.wide_w, one, end)
        w = weights.a2
        _product(w.values[layer], w.factor[layer], m.low_a, batch, m.wide_a, one, end)
        w = weights.g2
        _product(w.values[layer], w.factor[layer], m.low_g, batch, m.wide_g, one, end)
        if layer > 0:
            w = weights.v2
            _product(w.values[layer], w.factor[layer], m.low_v, batch, m.wide_v, one, end)
        write_heads(weights, m, layer, slots, wkv, first_head, last_head)
        meet(counters, members)
        one, end = _share(width, member, members)
        w = weights.output
        _multiply(w.values[layer], w.factor[layer], m.y, batch, more, one, end)
        _add(m.x, more, batch, one, end)
        _adapt(loras.output_a, loras.output_b, layer, shares, m.y, m.x, one, end)
        meet(counters, members)
        mix_channels(weights, m, layer, slots, ffn_shift, member, members)
        meet(counters, members)
        one, end = _share(m.inner.shape[1], member, members)
        w = weights.ffn_key
        _multiply(w.values[layer], w.factor[layer], m.mixed[0], batch, m.inner, one, end)
        _adapt(loras.ffn_key_a, loras.ffn_key_b, layer, shares, m.mixed[0], m.inner, one, end)
        _squared_relu(m.inner, batch, one, end)
        meet(counters, members)
        one, end = _share(width, member, members)
        w = weights.ffn_value
        _multiply(w.values[layer], w.factor[layer], m.inner, batch, more, one, end)
        _add(m.x, more, batch, one, end)
        _adapt(loras.ffn_value_a, loras.ffn_value_b, layer, shares, m.inner, m.x, one, end)
        meet(counters, members)
    finish(weights, m, batch, member, members)
    meet(counters, members)
    one, end = _share(m.logits.shape[1], member, members)
    _multiply(weights.head.values[0], weights.head.factor[0], m.y, batch, m.logits, one, end)


@loop
def before_heads(
    weights: Any,
    m: Any,
    layer: int,
    tokens: Any,
    slots: Any,
    att_shift: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """The part of a layer before the products of its time mix, for a team."""
    if layer == 0:
        read_tokens(weights, m, tokens, member, members)  # the rows that this member goes on with
    mix_time(weights, m, layer, slots, att_shift, member, members)


@loop
def within_heads(
    weights: Any,
    m: Any,
    layer: int,
    slots: Any,
    wkv: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """The part between the products of the time mix and its output, for a team."""
    heads = wkv.shape[2]
    first, last = heads * member // members, heads * (member + 1) // members
    write_heads(weights, m, layer, slots, wkv, first, last)


@loop
def after_heads(
    weights: Any,
    m: Any,
    layer: int,
    slots: Any,
    ffn_shift: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """The part between the time mix and the products of the channel mix, for a team."""
    mix_channels(weights, m, layer, slots, ffn_shift, member, members)


@loop
def after_layers(
    weights: Any, m: Any, batch: int, counters: Any, member: int, members: int
) -> None:
    """The part before the output matrix, for a team."""
    finish(weights, m, batch, member, members)


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
    """What the adapters add to the product of one layer, for a team."""
    first, last = _share(out.shape[1], member, members)
    _adapt(a, b, layer, shares, x, out, first, last)
