"""RWKV-7's WKV operation on a GPU: one program a head of a sequence, its state in registers.

Sequential in time. The state is kept every 16 tokens, as in the reference's CUDA kernel; the backward
pass computes those between again from the last one kept, so nothing is divided by a decay. Imported
only where there is a GPU.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

EVERY = 16  # tokens from one kept state to the next


def triton_wkv7(
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
    """Arguments and results as of `kajiya.models.rwkv7.kernel.wkv7`; the size must be a power of 2."""
    y, last = _TritonWkv7.apply(r, w, k, v, kk, a, state, starts, initial)  # type: ignore[no-untyped-call]
    return y, last


@triton.jit
def _next(s, r, w, k, v, kk, a, at, i):  # type: ignore[no-untyped-def]
    """The state after the token at offset `at`; also what of it is needed again."""
    kk_t = tl.load(kk + at + i).to(tl.float32)
    b_t = kk_t * tl.load(a + at + i).to(tl.float32)
    k_t = tl.load(k + at + i).to(tl.float32)
    v_t = tl.load(v + at + i).to(tl.float32)
    w_t = tl.exp(tl.load(w + at + i).to(tl.float32))
    u = tl.sum(s * kk_t[None, :], axis=1)
    s = s * w_t[None, :] - u[:, None] * b_t[None, :] + v_t[:, None] * k_t[None, :]
    return s, u, kk_t, b_t, k_t, v_t, w_t


@triton.jit  # type: ignore[untyped-decorator]
def _fresh(s, initial, head, square, HAS_INITIAL: tl.constexpr, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """The state that documents start from."""
    if HAS_INITIAL:
        return tl.load(initial + head * N * N + square).to(tl.float32)
    return s * 0.0


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    r, w, k, v, kk, a, state, starts, initial, y, kept, last, time, heads,
    HAS_STARTS: tl.constexpr, HAS_INITIAL: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    batch, head = row // heads, row % heads
    i = tl.arange(0, N)
    square = i[:, None] * N + i[None, :]  # [value, key]
    s = tl.load(state + row * N * N + square)
    pieces = (time + STEP - 1) // STEP
    for t in range(time):
        if t % STEP == 0:
            tl.store(kept + (row * pieces + t // STEP) * N * N + square, s)
        if HAS_STARTS:
            begins = tl.load(starts + batch * time + t) != 0
            s = tl.where(begins, _fresh(s, initial, head, square, HAS_INITIAL, N), s)
        at = ((batch * time + t) * heads + head) * N
        s, u, kk_t, b_t, k_t, v_t, w_t = _next(s, r, w, k, v, kk, a, at, i)
        r_t = tl.load(r + at + i).to(tl.float32)
        tl.store(y + at + i, tl.sum(s * r_t[None, :], axis=1))
    tl.store(last + row * N * N + square, s)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    r, w, k, v, kk, a, starts, initial, kept, scratch, dy, d_last,
    dr, dw, dk, dv, dkk, da, d_state, d_initial, time, heads,
    HAS_STARTS: tl.constexpr, HAS_INITIAL: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    batch, head = row // heads, row % heads
    i = tl.arange(0, N)
    square = i[:, None] * N + i[None, :]
    ds = tl.load(d_last + row * N * N + square)
    from_starts = ds * 0.0
    pieces = (time + STEP - 1) // STEP
    for back in range(pieces):
        piece = pieces - 1 - back
        count = tl.minimum(STEP, time - piece * STEP)
        s = tl.load(kept + (row * pieces + piece) * N * N + square)
        for j in range(count):
            t = piece * STEP + j
            if HAS_STARTS:
                begins = tl.load(starts + batch * time + t) != 0
                s = tl.where(begins, _fresh(s, initial, head, square, HAS_INITIAL, N), s)
            tl.store(scratch + (row * STEP + j) * N * N + square, s)
            at = ((batch * time + t) * heads + head) * N
            s, u, kk_t, b_t, k_t, v_t, w_t = _next(s, r, w, k, v, kk, a, at, i)
        tl.debug_barrier()
        for back_j in range(count):
            j = count - 1 - back_j
            t = piece * STEP + j
            at = ((batch * time + t) * heads + head) * N
            before = tl.load(scratch + (row * STEP + j) * N * N + square)
            s, u, kk_t, b_t, k_t, v_t, w_t = _next(before, r, w, k, v, kk, a, at, i)
            dy_t = tl.load(dy + at + i).to(tl.float32)
            r_t = tl.load(r + at + i).to(tl.float32)
            a_t = tl.load(a + at + i).to(tl.float32)
            tl.store(dr + at + i, tl.sum(s * dy_t[:, None], axis=0))
            ds += dy_t[:, None] * r_t[None, :]
            tl.store(dv + at + i, tl.sum(ds * k_t[None, :], axis=1))
            tl.store(dk + at + i, tl.sum(ds * v_t[:, None], axis=0))
            tl.store(dw + at + i, tl.sum(ds * before, axis=0) * w_t)
            du = -tl.sum(ds * b_t[None, :], axis=1)
            db = -tl.sum(ds * u[:, None], axis=0)
            tl.store(dkk + at + i, tl.sum(before * du[:, None], axis=0) + db * a_t)
            tl.store(da + at + i, db * kk_t)
            ds = ds * w_t[None, :] + du[:, None] * kk_t[None, :]
            if HAS_STARTS:
                begins = tl.load(starts + batch * time + t) != 0
                from_starts += tl.where(begins, ds, 0.0)
                ds = tl.where(begins, 0.0, ds)
        tl.debug_barrier()
    tl.store(d_state + row * N * N + square, ds)
    if HAS_INITIAL:
        tl.store(d_initial + row * N * N + square, from_starts)


class _TritonWkv7(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        inputs = [x.contiguous() for x in arguments[:6]]
        state, starts, initial = arguments[6:]
        batch, time, heads, size = inputs[0].shape
        s0 = state.float().contiguous()
        initial32 = s0 if initial is None else initial.float().contiguous()
        flags = inputs[0] if starts is None else starts.to(torch.uint8).contiguous()
        y = torch.empty_like(inputs[0], dtype=torch.float32)
        pieces = triton.cdiv(time, EVERY)
        kept = s0.new_empty(batch * heads, pieces, size, size)
        last = torch.empty_like(s0)
        with _on(y):
            _forward[(batch * heads,)](
                *inputs, s0, flags, initial32, y, kept, last, time, heads,
                HAS_STARTS=starts is not None, HAS_INITIAL=initial is not None, N=size, STEP=EVERY,
            )  # fmt: skip
        ctx.save_for_backward(*inputs, flags, initial32, kept)
        ctx.given = starts is not None, initial
        ctx.state_dtype = state.dtype
        return y, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, flags, initial32, kept = ctx.saved_tensors
        has_starts, initial = ctx.given
        dy, d_last = (g.float().contiguous() for g in grads)
        batch, time, heads, size = inputs[0].shape
        scratch = kept.new_empty(batch * heads, EVERY, size, size)
        found = [torch.empty_like(x) for x in inputs]
        d_state, d_initial = torch.empty_like(d_last), torch.empty_like(d_last)
        with _on(dy):
            _backward[(batch * heads,)](
                *inputs, flags, initial32, kept, scratch, dy, d_last,
                *found, d_state, d_initial, time, heads,
                HAS_STARTS=has_starts, HAS_INITIAL=initial is not None, N=size, STEP=EVERY,
            )  # fmt: skip
        d_start = None if initial is None else d_initial.sum(0).to(initial.dtype)
        return (*found, d_state.to(ctx.state_dtype), None, d_start)


def _on(tensor: Tensor) -> Any:
    """Launch on the tensor's GPU, which need not be the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
