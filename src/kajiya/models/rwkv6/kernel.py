"""The recurrence of RWKV-6 over whole sequences: in chunks, with its own backward pass.

Per head, with the state `S` held as [value, key] and `u` the bonus of the current token
(Peng et al. 2024, arXiv:2404.05892, section 4.2):

    y_t = (S_{t-1} + v_t (u ⊙ k_t)ᵀ) r_t
    S_t = S_{t-1} diag(w_t) + v_t k_tᵀ

What a chunk does by itself is in `within.py`; here chunks are chained by their states.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kajiya.models.rwkv6.layout import Layout
from kajiya.models.rwkv6.recurrent import step
from kajiya.models.rwkv6.within import Merge, Summary, differentiate, summarise

CHUNK = 32
_UNITS = 128  # chunks of single heads worked on together: few enough for the processor's cache


def wkv6(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    u: Tensor,
    state: Tensor,
    starts: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs and final state of the recurrence, differentiable in everything but `starts`.

    `r`, `k`, `v` and `w`, the decay's logarithm (≤ 0; minus infinity forgets), are
    `[batch, time, heads, size]`; `u` is `[heads, size]`; rows begin from `state`
    `[batch, heads, value, key]`, and the documents whose first tokens are marked in `starts`
    `[batch, time]` from `initial` `[heads, value, key]`, zero if it is None.

    Computed in 32 bits (64 if `r` or `state` has 64). Returns `y` `[batch, time, heads, size]` and the
    state after the last token `[batch, heads, value, key]`, both in that precision.
    """
    batch, time = r.shape[:2]
    dtype = torch.promote_types(r.dtype, state.dtype)
    state = state.to(dtype)
    if time == 1 and starts is None:
        y, last = step(r[:, 0], w[:, 0], k[:, 0], v[:, 0], u, state)
        return y[:, None], last
    chunk = min(CHUNK, 1 << (time - 1).bit_length())  # a short row is one chunk
    layout = Layout.of(batch, time, chunk, starts)
    initial = torch.zeros_like(state) if initial is None else initial.to(dtype).expand_as(state)
    fresh = layout.fresh
    if fresh is not None:
        fresh = fresh.repeat_interleave(state.shape[1], 1)[..., None, None]
    y, last = _Chain.apply(  # type: ignore[no-untyped-call]
        *(layout.to_chunks(x.to(dtype)) for x in (r, w, k, v)),
        u.to(dtype).repeat(batch, 1).unsqueeze(1),
        state.flatten(0, 1),
        initial.flatten(0, 1),
        fresh,
    )
    return layout.from_chunks(y), last.view_as(state)


class _Chain(torch.autograd.Function):
    """Keeps its inputs and the states between chunks; what is inside a chunk is computed again."""

    @staticmethod
    def forward(
        ctx: Any,
        r: Tensor,  # [chunks, units, chunk, size], a unit being one head of one row; so are w, k, v
        w: Tensor,  # logarithms
        k: Tensor,
        v: Tensor,
        u: Tensor,  # [units, 1, size]
        state: Tensor,  # [units, value, key]
        initial: Tensor,  # [units, value, key]
        fresh: Tensor | None,  # [chunks, units, 1, 1]
    ) -> tuple[Tensor, Tensor]:
        y = torch.empty_like(r)
        begin = r.new_empty(len(r), *state.shape)  # the state before each chunk
        last = state
        for part in _parts(r):
            chunk, bonus = _operands(part, r, w, k, v, u)
            own = summarise(*chunk, bonus)
            update = (chunk[3].transpose(1, 2) @ own.writer).view_as(begin[part])
            decay = own.decay.view(len(update), -1, 1, state.shape[-1])
            for i in range(len(update)):
                number = part.start + i
                if fresh is not None:
                    last = torch.where(fresh[number], initial, last)
                begin[number] = last
                last = torch.addcmul(update[i], last, decay[i])
            before = begin[part].flatten(0, 1).transpose(1, 2)
            y[part] = torch.baddbmm(own.y, own.reader, before).view_as(y[part])
        ctx.save_for_backward(r, w, k, v, u, begin, fresh)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        r, w, k, v, u, begin, fresh = ctx.saved_tensors
        d_y, d_last = grads[0].contiguous(), grads[1]
        d_r, d_w, d_k, d_v = (torch.empty_like(r) for _ in range(4))
        d_u, d_initial = torch.zeros_like(u), torch.zeros_like(d_last)
        for part in reversed(_parts(r)):
            chunk, bonus = _operands(part, r, w, k, v, u)
            value, d_out = chunk[3], d_y[part].flatten(0, 1)
            kept: list[Merge] = []
            own = summarise(*chunk, bonus, kept)
            # By how much the loss rises with the state before each chunk, through its outputs …
            d_begin = (d_out.transpose(1, 2) @ own.reader).view_as(begin[part])
            d_end = torch.empty_like(d_begin)
            decay = own.decay.view(len(d_begin), -1, 1, r.shape[-1])
            for i in reversed(range(len(d_begin))):
                d_end[i] = d_last
                d_last = torch.addcmul(
                    d_begin[i], d_last, decay[i]
                )  # … and through the next state.
                if fresh is not None:
                    begins = fresh[part.start + i]
                    d_initial += d_last * begins
                    d_last = d_last * ~begins
            d_end = d_end.flatten(0, 1)
            before = begin[part].flatten(0, 1)
            grads_of_own = Summary(
                d_out, d_out @ before, value @ d_end, torch.sum(d_end * before, 1, keepdim=True)
            )
            of_r, of_w, of_k, of_v, of_u = differentiate(
                kept, chunk[0], chunk[2], value, bonus, grads_of_own
            )
            of_v += own.writer @ d_end.transpose(1, 2)
            of_w *= chunk[1]  # from the decay to its logarithm
            for whole, piece in zip((d_r, d_w, d_k, d_v), (of_r, of_w, of_k, of_v), strict=True):
                whole[part] = piece.view_as(whole[part])
            d_u += of_u.view(-1, *u.shape).sum(0)
        return d_r, d_w, d_k, d_v, d_u, d_last, d_initial, None


def _parts(r: Tensor) -> list[slice]:
    """Runs of chunks to work on together."""
    chunks, units = r.shape[:2]
    length = max(1, _UNITS // units)
    return [slice(i, min(i + length, chunks)) for i in range(0, chunks, length)]


def _operands(
    part: slice, r: Tensor, w: Tensor, k: Tensor, v: Tensor, u: Tensor
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """`r`, the decay itself, `k` and `v` of the chunks of `part` `[n, chunk, size]`, and `u` for each."""
    chunk = (
        r[part].flatten(0, 1),
        w[part].exp().flatten(0, 1),
        k[part].flatten(0, 1),
        v[part].flatten(0, 1),
    )
    return chunk, u.repeat(part.stop - part.start, 1, 1)
