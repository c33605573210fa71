"""The part of the time mix between its projections, in plain operations: what the fused form equals.

Used where the WKV operation is a kernel of its own (a GPU) and to decode single tokens.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kajiya.models.rwkv7.kernel import wkv7

# The decay is exp(−exp(−0.5)·σ(·)): at strongest 0.545 a token.
STRONGEST = math.exp(-0.5)


class Projections(NamedTuple):
    """What a token's projections gave, each `[batch, time, width]`.

    `w` is what the low-rank pair adds to `w0`; `a` and `mix` have their offsets `a0` and `v0` in them,
    `g` is the gate. `mix` and `v_first`, layer 0's v, are None in layer 0.
    """

    r: Tensor
    w: Tensor
    k: Tensor
    v: Tensor
    a: Tensor
    g: Tensor
    mix: Tensor | None
    v_first: Tensor | None


class CoreParameters(NamedTuple):
    """Per channel, of any shape with `width` numbers; `gain` and `bias` are the group norm's."""

    w0: Tensor
    k_k: Tensor
    k_a: Tensor
    r_k: Tensor
    gain: Tensor
    bias: Tensor


def core(
    x: Projections,
    p: CoreParameters,
    eps: float,
    state: Tensor,
    starts: Tensor | None,
    initial: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """What goes into the output projection, `[batch, time, width]` in r's precision, and the last state.

    [GroupNorm(wkv7(r, w, k, v, kk, a)) + Σ(r·k·r_k)·v]·g, computed in 32 bits (64 if the state has 64);
    `state` `[batch, heads, value, key]`, `starts` and `initial` as of `wkv7`.
    """
    batch, time, width = x.r.shape
    heads, size = state.shape[1], state.shape[3]
    dtype = torch.promote_types(state.dtype, torch.float32)
    shape = (batch, time, heads, size)
    r, w, k, v, a, g = (tensor.to(dtype).view(shape) for tensor in x[:6])
    w0, k_k, k_a, r_k, gain, bias = (tensor.to(dtype).view(heads, size) for tensor in p)
    w = -STRONGEST * torch.sigmoid(w0 + w)
    a = torch.sigmoid(a)
    if x.mix is not None and x.v_first is not None:
        share = torch.sigmoid(x.mix.to(dtype)).view(shape)
        v = torch.lerp(v, x.v_first.to(dtype).view(shape), share)
    kk = F.normalize(k * k_k, dim=-1)
    k = k * (1 + (a - 1) * k_a)
    y, last = wkv7(r, w, k, v, kk, a, state, starts, initial)
    y = F.layer_norm(y, (size,), eps=eps) * gain + bias
    y = (y + (r * k * r_k).sum(-1, keepdim=True) * v) * g
    return y.view(batch, time, width).to(x.r.dtype), last
