"""The compiled loops as differentiable operations on tensors; no gradient flows to a gain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kajiya.models.compiled import array
from kajiya.training.kernels import loops


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        inverse = x.new_empty(x.shape[:-1], dtype=torch.float32)
        rows = (-1, x.shape[-1])
        loops.rms_norm(
            array(x.view(rows)), array(gain), eps, array(out.view(rows)), array(inverse.view(-1))
        )
        ctx.save_for_backward(x, gain, inverse)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, inverse = ctx.saved_tensors
        out, rows = torch.empty_like(x), (-1, x.shape[-1])
        g = grads[0].contiguous().view(rows)
        loops.rms_norm_gradient(
            array(g),
            array(x.view(rows)),
            array(gain),
            array(inverse.view(-1)),
            array(out.view(rows)),
        )
        return out, None, None


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """x / rms(x) · gain over the last axis (Zhang & Sennrich 2019, arXiv:1910.07467); `gain` in fp32."""
    result: Tensor = _RmsNorm.apply(x, gain, eps)  # type: ignore[no-untyped-call]
    return result


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, gelu: bool) -> Tensor:
        out = y.new_empty(len(y), y.shape[1] // 2)
        loops.gate(array(y), gelu, array(out))
        ctx.save_for_backward(y)
        ctx.gelu = gelu
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        out = torch.empty_like(y)
        loops.gate_gradient(array(grads[0].contiguous()), array(y), ctx.gelu, array(out))
        return out, None


def gate(y: Tensor, gelu: bool) -> Tensor:
    """f(a) · b of the halves a, b of `y` `[n, 2 width]` (Shazeer 2020, arXiv:2002.05202): `[n, width]`.

    f is GELU in its tanh form, or SiLU.
    """
    result: Tensor = _Gate.apply(y, gelu)  # type: ignore[no-untyped-call]
    return result


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        cos: Tensor,
        sin: Tensor,
        gains: tuple[Tensor, Tensor],
        eps: float,
        shape: tuple[int, int, int, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        heads, groups, time, size = shape
        batch, cos, sin = len(y) // time, cos.contiguous(), sin.contiguous()
        columns = groups * size
        q, k = (y.new_empty(batch, n, time, size) for n in (heads, groups))
        inverses = [x.new_empty(x.shape[:3], dtype=torch.float32) for x in (q, k)]
        first = 0
        for x, gain, inverse in zip((q, k), gains, inverses, strict=True):
            loops.rotate(
                array(y),
                first,
                array(gain),
                eps,
                array(cos),
                array(sin),
                array(x),
                array(inverse),
            )
            first += x.shape[1] * size
        v = y[:, first : first + columns].view(batch, time, groups, size).transpose(1, 2)
        ctx.save_for_backward(y, cos, sin, *gains, *inverses)
        return q, k, v.contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, cos, sin, *rest = ctx.saved_tensors
        out, first = torch.empty_like(y), 0
        for g, gain, inverse in zip(grads[:2], rest[:2], rest[2:], strict=True):
            loops.rotate_gradient(
                array(g.contiguous()),
                array(y),
                first,
                array(gain),
                array(inverse),
                array(cos),
                array(sin),
                array(out),
            )
            first += g.shape[1] * g.shape[3]
        out[:, first:] = grads[2].transpose(1, 2).reshape(len(y), -1)
        return out, None, None, None, None, None


def heads(
    y: Tensor,  # [batch · time, (heads + 2 groups) · size]
    cos: Tensor,  # [batch or 1, time, size]
    sin: Tensor,
    gains: tuple[Tensor, Tensor],  # of the queries' and keys' RMS norm, [size]; empty: no norm
    eps: float,
    shape: tuple[int, int, int, int],  # heads, groups, time, size
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries `[batch, heads, time, size]`, keys and values `[batch, groups, time, size]` of attention.

    Queries and keys are normalised and rotated by their position (Su et al. 2021, arXiv:2104.09864).
    """
    result: tuple[Tensor, Tensor, Tensor] = _Heads.apply(y, cos, sin, gains, eps, shape)  # type: ignore[no-untyped-call]
    return result
