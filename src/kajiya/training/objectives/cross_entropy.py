"""Cross-entropy over a large vocabulary, only where there is a label, never all logits at once.

The output matrix is frozen, so the gradient with respect to the hidden states can be computed in the
forward pass. The vocabulary is gone through once, in blocks that stay in the cache: a block's logits
become exponentials, which are added up and multiplied with the same rows of the output matrix; the
division by their sum comes last, as in FlashAttention (Dao et al. 2022, arXiv:2205.14135, section 3.1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 256  # labels at once
BLOCK = 4096  # entries of the vocabulary at once: 2 MB of logits in 16 bits for a full chunk


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,  # [labels, width]
        weight: Tensor,  # [vocabulary, width], frozen
        labels: Tensor,  # [labels]
        softcap: float | None,
    ) -> Tensor:
        gradient = torch.empty_like(hidden)
        total = hidden.new_zeros((), dtype=torch.float64)
        for start in range(0, len(labels), CHUNK):
            rows = slice(start, start + CHUNK)
            losses, gradient[rows] = _chunk(hidden[rows], weight, labels[rows], softcap)
            total += losses.sum(dtype=torch.float64)
        ctx.save_for_backward(gradient)
        return total.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None


def _chunk(
    hidden: Tensor, weight: Tensor, labels: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Loss `[labels]` and gradient `[labels, width]` in at least 32 bits."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    wanted = weight.index_select(0, labels).to(wide)
    target = torch.linalg.vecdot(hidden.to(wide), wanted)
    if softcap is not None:
        target = softcap * torch.tanh(target / softcap)
        wanted *= 1 - (target / softcap).square().unsqueeze(1)
    # Any shift near the largest logit will do: exponentials overflow only 88 above it.
    first = _logits(hidden, weight[:BLOCK], softcap).amax(1)
    shift = torch.maximum(first, target.to(first.dtype))
    total, weighted = _sweep(hidden, weight, shift, softcap)
    if not torch.isfinite(total).all():
        for start in range(0, len(weight), BLOCK):
            block = _logits(hidden, weight[start : start + BLOCK], softcap)
            shift = torch.maximum(shift, block.amax(1))
        total, weighted = _sweep(hidden, weight, shift, softcap)
    losses = total.log() + shift.to(wide) - target
    return losses, weighted.div_(total.unsqueeze(1)).sub_(wanted)


def _sweep(
    hidden: Tensor, weight: Tensor, shift: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Σ exp(logit − shift) `[labels]`, and the same weighted with ∂logit/∂hidden `[labels, width]`."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    total = torch.zeros(len(hidden), dtype=wide, device=hidden.device)
    weighted = torch.zeros(hidden.shape, dtype=wide, device=hidden.device)
    for start in range(0, len(weight), BLOCK):
        block = weight[start : start + BLOCK]
        logits = _logits(hidden, block, softcap)
        slope = None if softcap is None else 1 - (logits / softcap).square_()
        powers = logits.sub_(shift.unsqueeze(1)).exp_()
        total += powers.sum(1, dtype=wide)
        weighted += (powers if slope is None else powers.mul_(slope)) @ block
    return total, weighted


def _logits(hidden: Tensor, block: Tensor, softcap: float | None) -> Tensor:
    logits = hidden @ block.t()
    return logits if softcap is None else logits.div_(softcap).tanh_().mul_(softcap)


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, softcap: float | None = None
) -> Tensor:
    """Sum over labels of −log softmax(hidden · weightᵀ)[label], in nats; a scalar in fp32.

    `hidden` is `[labels, width]`, `weight` `[vocabulary, width]` (no gradient flows to it), `labels`
    `[labels]`. `softcap` applies `cap · tanh(logits / cap)` first (Gemma 2).
    """
    result: Tensor = _LinearCrossEntropy.apply(hidden, weight, labels, softcap)  # type: ignore[no-untyped-call]
    return result
