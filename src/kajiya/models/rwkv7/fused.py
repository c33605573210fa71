"""`kajiya.models.rwkv7.core` for CPUs: one pass over segments that fit the cache, its own backward pass.

Between the passes only the projections and the states at the chunks' starts are kept, in the
projections' precision; all else is computed again in 32 bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kajiya.models.rwkv7.chunk import Chunks
from kajiya.models.rwkv7.chunk_gradient import gradients
from kajiya.models.rwkv7.chunked import Part, begin, from_rows, initial_rows, parts, to_rows
from kajiya.models.rwkv7.core import STRONGEST, CoreParameters, Projections

_TINY = 1e-12  # what a key's norm is at least taken for


def fused_core(
    x: Projections,
    p: CoreParameters,
    eps: float,
    state: Tensor,
    starts: Tensor | None,
    initial: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As `core`."""
    state, starts = begin(state, starts, initial)
    out, last = _Fused.apply(*x, *p, eps, state, starts, initial)  # type: ignore[no-untyped-call]
    return out, last


class _Segment:
    """One segment's forward pass; everything in `[chunks, rows, length, size]`."""

    def __init__(
        self,
        x: Projections,
        p: CoreParameters,
        initial: Tensor | None,
        part: Part,
        dtype: torch.dtype,
    ) -> None:
        self.p = p
        self.r, self.w, self.k, self.a, self.g = (
            part.load(tensor, dtype) for tensor in (x.r, x.w, x.k, x.a, x.g)
        )
        written = part.load_value(x.v, dtype)
        self.v = written[:, :, part.length :]
        self.mix = self.toward = None
        if x.mix is not None and x.v_first is not None:
            self.mix = part.load(x.mix, dtype).sigmoid_()
            self.toward = part.load(x.v_first, dtype).sub_(self.v)
            self.v.addcmul_(self.toward, self.mix)
        self.w.add_(p.w0).sigmoid_()
        self.a.sigmoid_()
        self.kk = self.k * p.k_k
        self.norm = torch.linalg.vector_norm(self.kk, dim=3, keepdim=True).clamp_(min=_TINY)
        self.kk.div_(self.norm)
        self.k_raw = self.k
        self.scale = torch.addcmul(1 - p.k_a, self.a, p.k_a)
        self.k = self.k_raw * self.scale
        documents = part.documents(x.r.shape[2], dtype)
        self.chunks = Chunks(
            self.r, self.w, self.k, self.kk, self.a, written, documents, initial, -STRONGEST
        )

    def output(self, states: Tensor, eps: float) -> Tensor:
        """The result, once the chunks know their states."""
        self.y = self.chunks.output(states)
        self.z, self.mean, self.rstd = torch.native_layer_norm(
            self.y, self.y.shape[3:], None, None, eps
        )
        self.bonus = torch.linalg.vecdot(self.r * self.p.r_k, self.k).unsqueeze(3)
        self.h = torch.addcmul(self.p.bias, self.z, self.p.gain).addcmul_(self.bonus, self.v)
        return self.h * self.g


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        x, p = Projections(*arguments[:8]), CoreParameters(*arguments[8:14])
        eps, state, starts, initial = arguments[14:]
        batch, heads, size = state.shape[0], state.shape[1], state.shape[3]
        dtype = torch.promote_types(state.dtype, torch.float32)
        out = torch.empty_like(x.r)
        kept = []
        rows = to_rows(state, dtype)
        with torch.autocast(out.device.type, enabled=False):
            by_head, p_rows = _by_head(x, heads), _per_row(p, batch, size, dtype)
            start = initial_rows(initial, batch, dtype)
            for part in parts(by_head.r, starts):
                segment = _Segment(by_head, p_rows, start, part, dtype)
                states = segment.chunks.start_from(rows)
                part.store(segment.output(states, eps), out.unflatten(2, (heads, size)))
                kept.append(states)
                rows = states[-1]
        ctx.save_for_backward(*x, *p, starts, initial, *kept)
        ctx.eps, ctx.state_dtype, ctx.heads = eps, state.dtype, heads
        return out, from_rows(rows, batch)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: checkpointed layers unpack them only once
        x, p = Projections(*saved[:8]), CoreParameters(*saved[8:14])
        starts, initial, *kept = saved[14:]
        dtype, batch, heads = kept[0].dtype, x.r.shape[0], ctx.heads
        d_out, d_last = grads
        found = _Found(x, p, heads, ctx.needs_input_grad[8:14], dtype)
        d_rows = to_rows(d_last, dtype)
        start = initial_rows(initial, batch, dtype)
        d_start = None if start is None else torch.zeros_like(start)
        with torch.autocast(d_out.device.type, enabled=False):
            by_head, p_rows = _by_head(x, heads), _per_row(p, batch, kept[0].shape[3], dtype)
            d_heads = d_out.unflatten(2, (heads, -1))
            for part, states in zip(
                reversed(parts(by_head.r, starts)), reversed(kept), strict=True
            ):
                segment = _Segment(by_head, p_rows, start, part, dtype)
                segment.chunks.resume(states)
                segment.output(states, ctx.eps)
                d_rows, d_segment = found.add(
                    segment, part, states, part.load(d_heads, dtype), d_rows
                )
                if d_start is not None and d_segment is not None:
                    d_start += d_segment
        if d_start is not None:
            d_start = from_rows(d_start, batch).sum(0).to(initial.dtype)
        d_state = from_rows(d_rows, batch).to(ctx.state_dtype)
        return (*found.of_inputs(x), *found.of_parameters(p), None, d_state, None, d_start)


class _Found:
    """The gradients of projections and parameters, gathered segment by segment."""

    def __init__(
        self,
        x: Projections,
        p: CoreParameters,
        heads: int,
        wanted: tuple[bool, ...],
        dtype: torch.dtype,
    ) -> None:
        made = (None if tensor is None else torch.empty_like(tensor) for tensor in x)
        self.x = _by_head(Projections(*made), heads)  # type: ignore[arg-type]
        self.wanted = dict(zip(CoreParameters._fields, wanted, strict=True))
        size = x.r.shape[2] // heads
        self.p = {
            name: torch.zeros(x.r.shape[0] * heads, size, dtype=dtype, device=x.r.device)
            for name, value in self.wanted.items()
            if value
        }

    def add(
        self, s: _Segment, part: Part, states: Tensor, d_out: Tensor, d_last: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """One segment's; returns the gradients of the state before it and of `initial`, by rows."""
        p = s.p
        part.store(d_out * s.h, self.x.g)
        dh = d_out.mul_(s.g)
        self._sum("bias", dh)
        self._sum("gain", dh, s.z)
        d_bonus = torch.linalg.vecdot(dh, s.v).unsqueeze(3)
        dy = torch.ops.aten.native_layer_norm_backward(
            dh * p.gain, s.y, s.y.shape[3:], s.mean, s.rstd, None, None, [True, False, False]
        )[0]
        found = gradients(s.chunks, states, dy, d_last)
        r_bonus, k_bonus = s.r * d_bonus, s.k * d_bonus
        self._sum("r_k", r_bonus, s.k)
        part.store(found.r.addcmul_(k_bonus, p.r_k), self.x.r)
        dk = found.k.addcmul_(r_bonus, p.r_k)
        self._value(s, part, found.v.addcmul_(dh, s.bonus))
        d_scale = dk * s.k_raw
        da = found.a.addcmul_(d_scale, p.k_a)
        if "k_a" in self.p:
            self.p["k_a"] += d_scale.mul_(s.a - 1).sum((0, 2))
        part.store(torch.ops.aten.sigmoid_backward(da, s.a), self.x.a)
        dw = torch.ops.aten.sigmoid_backward(found.w, s.w)
        self._sum("w0", dw)
        part.store(dw, self.x.w)
        along = torch.linalg.vecdot(found.kk, s.kk).unsqueeze(3)
        dq = found.kk.addcmul_(s.kk, along, value=-1).div_(s.norm)
        self._sum("k_k", dq, s.k_raw)
        part.store(dk.mul_(s.scale).addcmul_(dq, p.k_k), self.x.k)
        return found.state, found.initial

    def _value(self, s: _Segment, part: Part, dv: Tensor) -> None:
        if s.mix is not None and s.toward is not None:
            assert self.x.mix is not None and self.x.v_first is not None
            d_first = dv * s.mix
            part.store(d_first, self.x.v_first)
            d_mix = torch.ops.aten.sigmoid_backward(dv * s.toward, s.mix)
            part.store(d_mix, self.x.mix)
            dv.sub_(d_first)
        part.store(dv, self.x.v)

    def _sum(self, name: str, gradient: Tensor, by: Tensor | None = None) -> None:
        if name in self.p:
            self.p[name] += (gradient if by is None else gradient * by).sum((0, 2))

    def of_inputs(self, x: Projections) -> list[Tensor | None]:
        """In the order of `Projections`."""
        pairs = zip(self.x, x, strict=True)
        return [None if d is None or like is None else d.view_as(like) for d, like in pairs]

    def of_parameters(self, p: CoreParameters) -> list[Tensor | None]:
        """In the order of `CoreParameters`; None where none is wanted."""
        batch = self.x.r.shape[0]
        results: list[Tensor | None] = []
        for name, parameter in zip(p._fields, p, strict=True):
            if name in self.p and parameter is not None:
                gradient = self.p[name].unflatten(0, (batch, -1)).sum(0)
                results.append(gradient.view(parameter.shape).to(parameter.dtype))
            else:
                results.append(None)
        return results


def _by_head(x: Projections, heads: int) -> Projections:
    """Views `[batch, time, heads, size]`."""
    views = (None if tensor is None else tensor.unflatten(2, (heads, -1)) for tensor in x)
    return Projections(*views)  # type: ignore[arg-type]


def _per_row(p: CoreParameters, batch: int, size: int, dtype: torch.dtype) -> CoreParameters:
    """Each parameter as `[batch·heads, 1, size]`."""
    rows = (tensor.to(dtype).reshape(-1, 1, size).repeat(batch, 1, 1) for tensor in p)
    return CoreParameters(*rows)
