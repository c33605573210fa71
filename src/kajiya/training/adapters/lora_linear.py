"""A linear layer with LoRA as one autograd function, in place of PEFT's chain of modules.

The result is PEFT's `x Wᵀ + s (x Aᵀ) Bᵀ` (Hu et al. 2021, arXiv:2106.09685, eq. 3); only the work
differs: the adapter is cast to the activations' type instead of the activations to the adapter's,
matrices are two-dimensional and contiguous, and nothing but `x` and `x Aᵀ` is kept for the backward
pass. PEFT still owns the parameters, so saving and loading are untouched.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # [..., in]
        weight: Tensor,  # [out, in], frozen
        bias: Tensor | None,  # [out], frozen
        a: Tensor,  # [rank, in]
        b: Tensor,  # [out, rank]
        scale: float,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        a_cast, b_cast = a.to(x.dtype), b.to(x.dtype)
        low = rows @ a_cast.t()  # [n, rank]
        y = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        y.addmm_(low, b_cast.t(), alpha=scale)
        ctx.save_for_backward(rows, low, weight, a_cast, b_cast)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, a.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, low, weight, a, b = ctx.saved_tensors
        g = grads[0].reshape(-1, weight.shape[0])  # [n, out]
        g_low = (g @ b).mul_(ctx.scale)  # [n, rank]
        g_x = None
        if ctx.needs_input_grad[0]:
            g_x = (g @ weight).addmm_(g_low, a).view(ctx.shape)
        g_a = (g_low.t() @ rows).to(ctx.dtype)
        g_b = (g.t() @ low).mul_(ctx.scale).to(ctx.dtype)
        return g_x, None, None, g_a, g_b, None


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    name = layer.active_adapters[0]
    result: Tensor = _LoraLinear.apply(  # type: ignore[no-untyped-call]
        x,
        layer.base_layer.weight,
        layer.base_layer.bias,
        layer.lora_A[name].weight,
        layer.lora_B[name].weight,
        layer.scaling[name],
    )
    return result


def use_fused_lora(model: nn.Module) -> int:
    """Replace the forward pass of every plain LoRA linear layer of a PEFT model; returns how many.

    Layers with dropout, DoRA, several active adapters or quantised bases keep PEFT's own forward.
    """
    from peft.tuners.lora.layer import Linear as PeftLinear

    replaced = 0
    layer: Any
    for layer in model.modules():
        if not (type(layer) is PeftLinear and type(layer.base_layer) is nn.Linear):
            continue
        name = layer.active_adapters[0]
        plain = (
            len(layer.active_adapters) == 1
            and not layer.merged
            and name in layer.lora_A
            and not layer.use_dora.get(name, False)
            and isinstance(layer.lora_dropout[name], nn.Identity)
        )
        if plain:
            layer.forward = MethodType(_forward, layer)
            replaced += 1
    return replaced
