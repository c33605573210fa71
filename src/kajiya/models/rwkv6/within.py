"""One chunk of RWKV-6 by itself: what its tokens give one another, and what it does to a state.

RWKV-6 bounds its decay from above only, so the usual quotient of cumulative products overflows.
Here blocks of one token are merged into blocks of two, four, …: between the halves of a block, what
a token writes is decayed to the middle and what a later one reads is decayed from the middle. Only
numbers ≤ 1 are multiplied and nothing is divided or subtracted, in the gradient too, so any decay
down to zero is exact; the work is log2(chunk) small products of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Summary(NamedTuple):
    """What `n` chunks of `c` tokens do, each for one head: `y + reader · S` and `S · decay + vᵀ writer`."""

    y: Tensor  # [n, c, size]: the outputs from a state of zero
    reader: Tensor  # [n, c, size]: r, decayed back to the state before the chunk
    writer: Tensor  # [n, c, size]: k, decayed on to the state after the chunk
    decay: Tensor  # [n, 1, size]: of the whole chunk


class Merge(NamedTuple):
    """The operands of one level, of blocks of two halves, kept for the backward pass."""

    reader: Tensor  # [blocks, half, size]: of the second halves, decayed from the middle
    writer: Tensor  # [blocks, half, size]: of the first halves, decayed to the middle
    decay: Tensor  # [blocks, 2, 1, size]: of each half


def summarise(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, u: Tensor, kept: list[Merge] | None = None
) -> Summary:
    """Merge the tokens of each chunk; `r, w, k, v` `[n, c, size]`, `u` `[n, 1, size]`, `w` in [0, 1].

    The operands of the levels are appended to `kept` if it is given.
    """
    _, chunk, size = r.shape
    y = (r * k).mul_(u).sum(-1, keepdim=True) * v
    reader, writer, decay = r.clone(), k.clone(), w
    half = 1
    while half < chunk:
        readers, writers, values, outputs = _halves(half, reader, writer, v, y)
        decay = decay.view(-1, 2, 1, size)
        first, second = decay.unbind(1)
        merge = Merge(readers[:, 1], writers[:, 0], decay)
        if kept is not None:
            merge = Merge(merge.reader.clone(), merge.writer.clone(), decay)
            kept.append(merge)
        outputs[:, 1] += _weights(merge) @ values[:, 0]
        readers[:, 1] *= first
        writers[:, 0] *= second
        decay = first * second
        half *= 2
    return Summary(y, reader, writer, decay.view(-1, 1, size))


def differentiate(
    kept: list[Merge], r: Tensor, k: Tensor, v: Tensor, u: Tensor, grads: Summary
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `summarise` with respect to `r, w, k, v, u`; overwrites those in `grads`."""
    d_y, d_reader, d_writer, d_decay = grads
    weight = (r * k).mul_(u).sum(-1, keepdim=True)
    d_v = weight * d_y
    d_weight = (d_y * v).sum(-1, keepdim=True)  # of the current token's own weight
    for merge in reversed(kept):
        half = merge.reader.shape[1]
        d_readers, d_writers, d_values, values, d_outputs = _halves(
            half, d_reader, d_writer, d_v, v, d_y
        )
        first, second = merge.decay.unbind(1)
        d_first = torch.sum(d_readers[:, 1] * merge.reader, 1, keepdim=True).addcmul_(
            d_decay, second
        )
        d_second = torch.sum(d_writers[:, 0] * merge.writer, 1, keepdim=True).addcmul_(
            d_decay, first
        )
        d_decay = torch.stack((d_first, d_second), 1).flatten(0, 1)
        d_weights = d_outputs[:, 1] @ values[:, 0].transpose(1, 2)
        d_values[:, 0] += _weights(merge).transpose(1, 2) @ d_outputs[:, 1]
        d_readers[:, 1] *= first
        d_readers[:, 1] += d_weights @ merge.writer
        d_writers[:, 0] *= second
        d_writers[:, 0] += d_weights.transpose(1, 2) @ merge.reader
    bonus = d_weight * u
    d_u = torch.sum(r * k * d_weight, 1, keepdim=True)
    d_reader.addcmul_(bonus, k)
    d_writer.addcmul_(bonus, r)
    return d_reader, d_decay.view_as(r), d_writer, d_v, d_u


def _halves(half: int, *tensors: Tensor) -> list[Tensor]:
    """Views `[blocks, 2, half, size]` of `[n, c, size]`."""
    return [x.view(-1, 2, half, x.shape[-1]) for x in tensors]


def _weights(merge: Merge) -> Tensor:
    """How much each token of the second half reads of each of the first: `[blocks, half, half]`."""
    return merge.reader @ merge.writer.transpose(1, 2)
