"""Linear layers with LoRA as one autograd function, in place of PEFT's chain of modules.

The result is PEFT's `x Wᵀ + s (x Aᵀ) Bᵀ` (Hu et al. 2021, arXiv:2106.09685, eq. 3); only the work
differs: the adapter is cast to the activations' type instead of the activations to the adapter's,
matrices are two-dimensional and contiguous, and nothing but `x` and `x Aᵀ` is kept for the backward
pass. Layers with a common input can be joined into one product. PEFT still owns the parameters, so
saving and loading are untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
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
        scale: float,
        *pairs: Tensor,  # for each of the layers that are joined: A [rank, in], B [its out, rank]
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        lows, highs = pairs[::2], pairs[1::2]
        a = torch.cat([low.to(x.dtype) for low in lows])  # [ranks, in]
        b = torch.block_diag(*(high.to(x.dtype) for high in highs))  # [out, ranks]
        low = rows @ a.t()  # [n, ranks]
        y = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        y.addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(rows, low, weight, a, b)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, lows[0].dtype
        ctx.blocks = [tuple(high.shape) for high in highs]
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, low, weight, a, b = ctx.saved_tensors
        g = grads[0].reshape(-1, weight.shape[0])  # [n, out]
        g_low = (g @ b).mul_(ctx.scale)  # [n, ranks]
        g_x = None
        if ctx.needs_input_grad[0]:
            g_x = (g @ weight).addmm_(g_low, a).view(ctx.shape)
        g_a = (g_low.t() @ rows).to(ctx.dtype)
        g_b = (g.t() @ low).mul_(ctx.scale).to(ctx.dtype)
        gradients: list[Tensor] = []
        row = column = 0
        for out, rank in ctx.blocks:
            gradients.append(g_a[column : column + rank])
            # A fused optimiser reads a gradient as if it lay in memory like its parameter.
            gradients.append(g_b[row : row + out, column : column + rank].contiguous())
            row, column = row + out, column + rank
        return g_x, None, None, None, *gradients


def lora_linear(x: Tensor, layers: Sequence[Any], weight: Tensor, bias: Tensor | None) -> Tensor:
    """The results of PEFT's `layers` `[..., sum of out]`, whose weights follow each other in `weight`."""
    name = layers[0].active_adapters[0]
    pairs = [part[name].weight for layer in layers for part in (layer.lora_A, layer.lora_B)]
    result: Tensor = _LoraLinear.apply(x, weight, bias, layers[0].scaling[name], *pairs)  # type: ignore[no-untyped-call]
    return result


def join(layers: Sequence[Any]) -> Tensor:
    """One matrix `[sum of out, in]` that holds the weights of `layers`, which become views of it."""
    bases = [layer.base_layer for layer in layers]
    weight = torch.cat([base.weight.detach() for base in bases])
    ends = list(accumulate(len(base.weight) for base in bases))
    for base, end in zip(bases, ends, strict=True):
        base.weight.data = weight[end - len(base.weight) : end]
    return weight


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return lora_linear(x, [layer], layer.base_layer.weight, layer.base_layer.bias)


def is_plain_lora(layer: Any) -> bool:
    """Whether `layer` is PEFT's linear layer with one adapter that has no dropout, DoRA or merged weight."""
    from peft.tuners.lora.layer import Linear as PeftLinear

    if not (type(layer) is PeftLinear and type(layer.base_layer) is nn.Linear):
        return False
    name = layer.active_adapters[0]
    return (
        len(layer.active_adapters) == 1
        and not layer.merged
        and name in layer.lora_A
        and not layer.use_dora.get(name, False)
        and isinstance(layer.lora_dropout[name], nn.Identity)
    )


def use_fused_lora(model: nn.Module) -> int:
    """Replace the forward pass of every plain LoRA linear layer of a PEFT model; returns how many.

    Layers with dropout, DoRA, several active adapters or quantised bases keep PEFT's own forward.
    """
    layers: list[Any] = [layer for layer in model.modules() if is_plain_lora(layer)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)
