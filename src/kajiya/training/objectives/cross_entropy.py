"""Cross-entropy over a large vocabulary, only where there is a label, never all logits at once.

The output matrix is frozen, so the gradient with respect to the hidden states can be computed in the
forward pass, chunk by chunk: a chunk's logits become its log-probabilities, then its gradient, and are
dropped. Memory is one chunk, not `[labels, vocabulary]` in 32 bits several times over.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Labels at once: enough for full matrix speed; their logits take 134 MB at 262,144 tokens.
CHUNK = 256


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
            target = labels[rows, None]
            logits = hidden[rows] @ weight.t()  # [chunk, vocabulary]
            if softcap is not None:
                logits = logits.div_(softcap).tanh_().mul_(softcap)
                slope = 1 - (logits / softcap).square_()
            log_p = torch.log_softmax(logits, dim=-1)
            total -= log_p.gather(1, target).sum(dtype=torch.float64)
            if ctx.needs_input_grad[0]:
                g = log_p.exp_()
                g.scatter_add_(1, target, torch.full_like(target, -1, dtype=g.dtype))
                if softcap is not None:
                    g.mul_(slope)
                torch.mm(g, weight, out=gradient[rows])
        ctx.save_for_backward(gradient)
        return total.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, softcap: float | None = None
) -> Tensor:
    """Sum over labels of −log softmax(hidden · weightᵀ)[label], in nats; a scalar in fp32.

    `hidden` is `[labels, width]`, `weight` `[vocabulary, width]` (no gradient flows to it), `labels`
    `[labels]`. `softcap` applies `cap · tanh(logits / cap)` first (Gemma 2).
    """
    result: Tensor = _LinearCrossEntropy.apply(hidden, weight, labels, softcap)  # type: ignore[no-untyped-call]
    return result
