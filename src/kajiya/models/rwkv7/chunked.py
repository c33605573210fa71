"""RWKV-7's WKV operation in chunks, with its own backward pass, in plain PyTorch.

Kept between the passes are the inputs and the state at each chunk's start; everything inside the chunks
is computed again, a segment of chunks at a time, so memory is linear in time with a small factor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kajiya.models.rwkv7.chunk import Chunks, Documents, from_chunks, to_chunks
from kajiya.models.rwkv7.chunk_gradient import gradients

LENGTH = 32  # tokens a chunk: fastest of 16, 32 and 64 on a CPU
_SEGMENT = 1 << 18  # numbers in one input of the chunks that are worked on at once


def chunked(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    kk: Tensor,
    a: Tensor,
    state: Tensor,
    starts: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Arguments and results as of `kajiya.models.rwkv7.kernel.wkv7`."""
    state, starts = begin(state, starts, initial)
    y, last = _Wkv7.apply(r, w, k, v, kk, a, state, starts, initial)  # type: ignore[no-untyped-call]
    return y, last


def begin(
    state: Tensor, starts: Tensor | None, initial: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Where documents begin with the first token, put what they start from into `state` instead.

    Returns the state and the starts that are left, None if there are none: most rows of a batch begin
    with a document and hold no other, and chunks in which none begins are cheaper.
    """
    if starts is None or starts.shape[1] == 0:
        return state, None
    fresh = torch.zeros_like(state) if initial is None else initial.to(state.dtype)
    state = torch.where(starts[:, :1, None, None], fresh, state)
    if not starts[:, 1:].any():
        return state, None
    return state, torch.cat((torch.zeros_like(starts[:, :1]), starts[:, 1:]), dim=1)


class Part:
    """A segment of a batch: which tokens, in chunks of which length, and where documents begin in it."""

    def __init__(self, first: int, tokens: int, length: int, starts: Tensor | None) -> None:
        self.rows = slice(first, first + tokens)
        self.length = length
        self.starts = None if starts is None else starts[:, self.rows]

    def documents(self, heads: int, dtype: torch.dtype) -> Documents | None:
        """None if no document begins here."""
        if self.starts is None or not self.starts.any():
            return None
        return Documents.of(self.starts, heads, self.length, dtype)

    def load(self, x: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
        """This part of `x` `[batch, time, heads, size]` as chunks, in `out` if it is given."""
        batch, _, heads, size = x.shape
        x = x[:, self.rows]
        if out is None:
            shape = (x.shape[1] // self.length, batch * heads, self.length, size)
            out = torch.empty(shape, dtype=dtype, device=x.device)
        return to_chunks(x, self.length, out)

    def load_value(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """As `load`, but in the second half of a tensor for `Chunks`' `written`."""
        batch, _, heads, size = x.shape
        shape = (x[:, self.rows].shape[1] // self.length, batch * heads, 2 * self.length, size)
        written = torch.empty(shape, dtype=dtype, device=x.device)
        self.load(x, dtype, written[:, :, self.length :])
        return written

    def store(self, x: Tensor, out: Tensor) -> None:
        """Chunks `x` into this part of `out` `[batch, time, heads, size]`."""
        from_chunks(x, out[:, self.rows])


def parts(x: Tensor, starts: Tensor | None) -> list[Part]:
    """The parts of a batch `[batch, time, heads, size]`, in order; the last may be one short chunk."""
    batch, time, heads, size = x.shape
    whole = time - time % LENGTH
    step = max(1, _SEGMENT // (batch * heads * size * LENGTH)) * LENGTH
    found = [Part(at, min(step, whole - at), LENGTH, starts) for at in range(0, whole, step)]
    if whole < time:
        found.append(Part(whole, time - whole, time - whole, starts))
    return found


def to_rows(state: Tensor, dtype: torch.dtype) -> Tensor:
    """`[batch, heads, value, key]` to `[batch·heads, key, value]`."""
    return state.to(dtype).transpose(2, 3).flatten(0, 1)


def from_rows(p: Tensor, batch: int) -> Tensor:
    """The way back."""
    state: Tensor = p.unflatten(0, (batch, -1)).transpose(2, 3).contiguous()
    return state


def initial_rows(initial: Tensor | None, batch: int, dtype: torch.dtype) -> Tensor | None:
    """`[heads, value, key]` to `[batch·heads, key, value]`, the same for each row of the batch."""
    return None if initial is None else to_rows(initial.expand(batch, *initial.shape), dtype)


class _Wkv7(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        r: Tensor,
        w: Tensor,
        k: Tensor,
        v: Tensor,
        kk: Tensor,
        a: Tensor,
        state: Tensor,
        starts: Tensor | None,
        initial: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        inputs = (r, w, k, v, kk, a)
        dtype = torch.promote_types(state.dtype, torch.float32)
        p = to_rows(state, dtype)
        y = torch.empty(r.shape, dtype=dtype, device=r.device)
        kept = []
        with torch.autocast(r.device.type, enabled=False):
            for part in parts(r, starts):
                chunks = _chunks(inputs, initial, part, dtype)
                states = chunks.start_from(p)
                part.store(chunks.output(states), y)
                kept.append(states)
                p = states[-1]
        ctx.save_for_backward(*inputs, starts, initial, *kept)
        ctx.state_dtype = state.dtype
        return y, from_rows(p, r.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        r, w, k, v, kk, a, starts, initial, *kept = ctx.saved_tensors
        inputs = (r, w, k, v, kk, a)
        batch, dtype = inputs[0].shape[0], kept[0].dtype
        dy, d_last = grads
        dp = to_rows(d_last, dtype)
        results = [torch.empty_like(x) for x in inputs]
        start = initial_rows(initial, batch, dtype)
        d_initial = None if start is None else torch.zeros_like(start)
        with torch.autocast(dy.device.type, enabled=False):
            for part, states in zip(
                reversed(parts(inputs[0], starts)), reversed(kept), strict=True
            ):
                chunks = _chunks(inputs, initial, part, dtype)
                chunks.resume(states)
                found = gradients(chunks, states, part.load(dy, dtype), dp)
                each = (found.r, found.w, found.k, found.v, found.kk, found.a)
                for result, gradient in zip(results, each, strict=True):
                    part.store(gradient, result)
                dp = found.state
                if d_initial is not None and found.initial is not None:
                    d_initial += found.initial
        if d_initial is not None:
            d_initial = from_rows(d_initial, batch).sum(0).to(initial.dtype)
        return (*results, from_rows(dp, batch).to(ctx.state_dtype), None, d_initial)


def _chunks(
    inputs: tuple[Tensor, ...], initial: Tensor | None, part: Part, dtype: torch.dtype
) -> Chunks:
    r, w, k, v, kk, a = inputs
    return Chunks(
        part.load(r, dtype),
        part.load(w, dtype),
        part.load(k, dtype),
        part.load(kk, dtype),
        part.load(a, dtype),
        written=part.load_value(v, dtype),
        documents=part.documents(r.shape[2], dtype),
        initial=initial_rows(initial, r.shape[0], dtype),
    )
