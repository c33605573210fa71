"""What a step of RWKV-7 does between its products, for rows that are tokens of several sequences.

The rows of one sequence follow each other in order. Each stage is called by all members of a team, with
what `Team.run` adds to the arguments: rows and heads are shared out among them. (Peng et al. 2025, arXiv:2503.14456; as `kajiya.models.rwkv7.core`.)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kajiya.inference.rwkv.team import meet
from kajiya.inference.rwkv.weights import VECTORS, Weights
from kajiya.models.compiled import exp, inlined, loop, sigmoid, wide

_STRONGEST = np.float32(math.exp(-0.5))  # the decay is exp(-exp(-0.5) sigmoid(·))
_ONE = np.float32(1)
_TINY = np.float32(1e-12)

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
    """What stays between the parts of a step, for up to so many rows, in 32 bits.

    `x`, `normed`, `r`, `k`, `v`, `first` (layer 0's v), `y` and the four results `wide_…` of the low-rank
    pairs are `[rows, width]`, `mixed` (the inputs of r, k, v, w, a, g) is `[6, rows, width]`.
    """

    x: Any
    normed: Any
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


def allocate(weights: Weights, most: int, answers: int) -> Memory:
    """Memory for steps of up to `most` rows; its `logits` `[answers, vocabulary]` are the result."""

    def rows(columns: int) -> Any:
        return np.zeros((most, columns), np.float32)

    width = weights.vectors.shape[2]
    return Memory(
        x=rows(width),
        normed=rows(width),
        mixed=np.zeros((6, most, width), np.float32),
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
        logits=np.zeros((answers, weights.head.values.shape[1]), np.float32),
    )


@inlined
def heads_of(heads: Any, member: Any, members: Any) -> Any:
    """The range of one member's heads."""
    return heads * member // members, heads * (member + 1) // members


@loop
def read_tokens(
    weights: Any, m: Any, tokens: Any, counters: Any, member: int, members: int
) -> None:
    """`m.x` = the normed embeddings of `tokens` `[batch]`."""
    norm = weights.around
    for b in range(member, len(tokens), members):
        row, x = weights.embedding[tokens[b]], m.x[b]
        for j in range(len(x)):
            x[j] = wide(row[j])
        _normalise(x, norm[0], norm[1], weights.norm_eps, x)


@loop
def mix_time(
    weights: Any,
    m: Any,
    layer: int,
    slots: Any,
    shift: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """`m.mixed` = the six inputs of the time mix; `shift` `[slots, layers, width]` becomes the last token's."""
    p, width = weights.vectors[layer], m.x.shape[1]
    eps = weights.norm_eps
    _normalise_rows(m, p[_LN1_GAIN], p[_LN1_BIAS], eps, len(slots), counters, member, members)
    for b in range(member, len(slots), members):
        h, before = m.normed[b], _before(m.normed, b, slots, shift, layer)
        for kind in range(6):
            share, out = p[_X_R + kind], m.mixed[kind, b]
            for j in range(width):
                out[j] = h[j] + (before[j] - h[j]) * share[j]
    _keep_last(m.normed, slots, shift, layer, counters, member, members)


@loop
def write_heads(
    weights: Any,
    m: Any,
    layer: int,
    slots: Any,
    wkv: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """This member's heads: `wkv` a token further, `m.y` the gated output."""
    p, size = weights.vectors[layer], wkv.shape[3]
    first, last = heads_of(wkv.shape[2], member, members)
    for head in range(first, last):
        for b in range(len(slots)):
            state = wkv[slots[b], layer, head]
            _head(p, weights.group_norm_eps, m, b, head * size, layer, state)


@loop
def mix_channels(
    weights: Any,
    m: Any,
    layer: int,
    slots: Any,
    shift: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """`m.mixed[0]` = the input of the channel mix; `shift` becomes the last token's."""
    p, width = weights.vectors[layer], m.x.shape[1]
    eps = weights.norm_eps
    _normalise_rows(m, p[_LN2_GAIN], p[_LN2_BIAS], eps, len(slots), counters, member, members)
    share = p[_X_FFN]
    for b in range(member, len(slots), members):
        h, before = m.normed[b], _before(m.normed, b, slots, shift, layer)
        out = m.mixed[0, b]
        for j in range(width):
            out[j] = h[j] + (before[j] - h[j]) * share[j]
    _keep_last(m.normed, slots, shift, layer, counters, member, members)


@loop
def finish(weights: Any, m: Any, last: Any, counters: Any, member: int, members: int) -> None:
    """`m.y` = what the output matrix reads of the rows `last` `[answers]`."""
    norm = weights.around
    for b in range(member, len(last), members):
        _normalise(m.x[last[b]], norm[2], norm[3], weights.norm_eps, m.y[b])


@inlined
def _before(normed: Any, b: Any, slots: Any, shift: Any, layer: Any) -> Any:
    """The token before row `b` of the same sequence: in the row above, or kept from an earlier step."""
    if b > 0 and slots[b - 1] == slots[b]:
        return normed[b - 1]
    return shift[slots[b], layer]


@loop
def _normalise_rows(
    m: Any, gain: Any, bias: Any, eps: float, rows: int, counters: Any, member: int, members: int
) -> None:
    """`m.normed` = the layer norm of every row; there for all members when this returns."""
    for b in range(member, rows, members):
        _normalise(m.x[b], gain, bias, eps, m.normed[b])
    meet(counters, members)


@loop
def _keep_last(
    normed: Any, slots: Any, shift: Any, layer: int, counters: Any, member: int, members: int
) -> None:
    """Keep the last row of each sequence, once all members have read what was kept before."""
    meet(counters, members)
    for b in range(member, len(slots), members):
        if b + 1 == len(slots) or slots[b + 1] != slots[b]:
            shift[slots[b], layer] = normed[b]


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
