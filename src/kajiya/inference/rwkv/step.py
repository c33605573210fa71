"""A step of a batch of sequences, all layers of an RWKV-7 in one compiled function.

The threads of a team share out the rows of each matrix and the heads of each layer, and meet between the
parts that need each other's results. What a sequence gets does not depend on the others in its batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kajiya.inference.rwkv.products import adapt, multiply, multiply_exactly, share
from kajiya.inference.rwkv.stages import (
    finish,
    heads_of,
    mix_channels,
    mix_time,
    read_tokens,
    write_heads,
)
from kajiya.inference.rwkv.team import meet
from kajiya.models.compiled import loop, sigmoid

_ONE, _TWO = np.float32(1), np.float32(2)


@loop
def step(
    weights: Any,
    loras: Any,
    m: Any,
    tokens: Any,
    slots: Any,
    shares: Any,
    last: Any,
    att_shift: Any,
    wkv: Any,
    ffn_shift: Any,
    counters: Any,
    member: int,
    members: int,
) -> None:
    """Read `tokens` `[batch]` of the sequences in `slots` `[batch]`, those of one in order.

    Each has `shares` `[batch, adapters]` of the adapters in `loras`. The states `att_shift`, `ffn_shift`
    `[slots, layers, width]` and `wkv` `[slots, layers, heads, value, key]` are changed in place,
    `m.logits` after the rows `last` `[answers]` are the result. To be called by all `members` of a team
    at once.
    """
    batch, layers, size = len(tokens), len(weights.vectors), wkv.shape[3]
    first_head, last_head = heads_of(wkv.shape[2], member, members)
    one, end = first_head * size, last_head * size
    more = np.empty((batch, m.x.shape[1]), np.float32)
    read_tokens(weights, m, tokens, counters, member, members)
    for layer in range(layers):
        mix_time(weights, m, layer, slots, att_shift, counters, member, members)
        meet(counters, members)
        multiply(weights.r, layer, m.mixed[0], batch, m.r, member, members)
        adapt(loras.r_a, loras.r_b, layer, shares, m.mixed[0], m.r, counters, member, members)
        multiply(weights.k, layer, m.mixed[1], batch, m.k, member, members)
        adapt(loras.k_a, loras.k_b, layer, shares, m.mixed[1], m.k, counters, member, members)
        multiply(weights.v, layer, m.mixed[2], batch, m.v, member, members)
        adapt(loras.v_a, loras.v_b, layer, shares, m.mixed[2], m.v, counters, member, members)
        _reduce(weights.w1, layer, m.mixed[3], batch, m.low_w, member, members)
        _tanh(m.low_w, batch, member, members)
        _reduce(weights.a1, layer, m.mixed[4], batch, m.low_a, member, members)
        _reduce(weights.g1, layer, m.mixed[5], batch, m.low_g, member, members)
        _sigmoid(m.low_g, batch, member, members)
        if layer > 0:
            _reduce(weights.v1, layer, m.mixed[2], batch, m.low_v, member, members)
        meet(counters, members)
        multiply_exactly(weights.w2, layer, m.low_w, batch, m.wide_w, one, end)
        multiply_exactly(weights.a2, layer, m.low_a, batch, m.wide_a, one, end)
        multiply_exactly(weights.g2, layer, m.low_g, batch, m.wide_g, one, end)
        if layer > 0:
            multiply_exactly(weights.v2, layer, m.low_v, batch, m.wide_v, one, end)
        write_heads(weights, m, layer, slots, wkv, counters, member, members)
        meet(counters, members)
        multiply(weights.output, layer, m.y, batch, more, member, members)
        _add(m.x, more, batch, member, members)
        adapt(loras.output_a, loras.output_b, layer, shares, m.y, m.x, counters, member, members)
        meet(counters, members)
        mix_channels(weights, m, layer, slots, ffn_shift, counters, member, members)
        meet(counters, members)
        multiply(weights.ffn_key, layer, m.mixed[0], batch, m.inner, member, members)
        a, b = loras.ffn_key_a, loras.ffn_key_b
        adapt(a, b, layer, shares, m.mixed[0], m.inner, counters, member, members)
        _squared_relu(m.inner, batch, member, members)
        meet(counters, members)
        multiply(weights.ffn_value, layer, m.inner, batch, more, member, members)
        _add(m.x, more, batch, member, members)
        a, b = loras.ffn_value_a, loras.ffn_value_b
        adapt(a, b, layer, shares, m.inner, m.x, counters, member, members)
        meet(counters, members)
    finish(weights, m, last, counters, member, members)
    meet(counters, members)
    multiply(weights.head, 0, m.y, len(last), m.logits, member, members)


@loop
def _reduce(
    matrix: Any, layer: int, x: Any, batch: int, out: Any, member: int, members: int
) -> None:
    """This member's rows of the first product of a low-rank pair, exactly."""
    first, last = share(out.shape[1], member, members)
    multiply_exactly(matrix, layer, x, batch, out, first, last)


@loop
def _tanh(x: Any, batch: int, member: int, members: int) -> None:
    first, last = share(x.shape[1], member, members)
    for b in range(batch):
        for i in range(first, last):
            x[b, i] = _TWO * sigmoid(_TWO * x[b, i]) - _ONE


@loop
def _sigmoid(x: Any, batch: int, member: int, members: int) -> None:
    first, last = share(x.shape[1], member, members)
    for b in range(batch):
        for i in range(first, last):
            x[b, i] = sigmoid(x[b, i])


@loop
def _squared_relu(x: Any, batch: int, member: int, members: int) -> None:
    first, last = share(x.shape[1], member, members)
    for b in range(batch):
        for i in range(first, last):
            positive = max(x[b, i], np.float32(0))
            x[b, i] = positive * positive


@loop
def _add(x: Any, more: Any, batch: int, member: int, members: int) -> None:
    first, last = share(x.shape[1], member, members)
    for b in range(batch):
        for i in range(first, last):
            x[b, i] += more[b, i]
