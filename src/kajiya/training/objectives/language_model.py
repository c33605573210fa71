"""The objective of pretraining: the next token at every position, with a gradient to the output matrix.

`cross_entropy` assumes a frozen output matrix; here both gradients are made in the forward pass, chunk
by chunk, so the logits of all positions never exist at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kajiya.training.batches import IGNORED
from kajiya.training.objectives.supervised import causal_parts

CHUNK = 1024  # positions at once: full matrix speed, and their logits stay in the cache


class _TrainedLinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,  # [positions, width]
        weight: Tensor,  # [vocabulary, width]
        targets: Tensor,  # [positions]
        penalty: float,
    ) -> Tensor:
        needed = ctx.needs_input_grad[0]
        total = hidden.new_zeros((), dtype=torch.float64)
        to_hidden = torch.empty_like(hidden) if needed else None
        to_weight = weight.new_zeros(weight.shape, dtype=torch.float32) if needed else None
        for start in range(0, len(targets), CHUNK):
            rows = slice(start, start + CHUNK)
            target = targets[rows, None]
            logits = (hidden[rows] @ weight.t()).float()  # [chunk, vocabulary]
            log_p = torch.log_softmax(logits, dim=-1)
            total -= log_p.gather(1, target).sum(dtype=torch.float64)
            if to_hidden is None or to_weight is None:
                continue
            g = log_p.exp_()
            g.scatter_add_(1, target, torch.full_like(target, -1, dtype=g.dtype))
            if penalty:
                largest, place = logits.max(dim=-1, keepdim=True)
                g.scatter_add_(1, place, largest.mul_(penalty))
            narrow = g.to(hidden.dtype)
            torch.mm(narrow, weight, out=to_hidden[rows])
            to_weight += narrow.t() @ hidden[rows]
        ctx.save_for_backward(to_hidden, to_weight)
        ctx.weight_type = weight.dtype
        return total.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        to_hidden, to_weight = ctx.saved_tensors
        scale = grads[0]
        wide = to_weight * scale
        return to_hidden * scale.to(to_hidden.dtype), wide.to(ctx.weight_type), None, None


def trained_linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, penalty: float = 0.0
) -> Tensor:
    """Sum over positions of −log softmax(hidden · weightᵀ)[target], in nats; a scalar in fp32.

    `hidden` is `[positions, width]`, `weight` `[vocabulary, width]`, `targets` `[positions]`; gradients
    flow to the first two. `penalty` adds the gradient (not the value) of `penalty / 2 · max(logits)²`,
    which RWKV is trained with.
    """
    result: Tensor = _TrainedLinearCrossEntropy.apply(hidden, weight, targets, penalty)  # type: ignore[no-untyped-call]
    return result


def language_model_loss(
    model: Any, inputs: Tensor, targets: Tensor, positions: Tensor, penalty: float = 0.0
) -> Tensor:
    """Sum over all `targets` `[rows, time]` that are not `IGNORED` of the negative log-likelihood.

    In nats, a scalar in fp32. `positions` restarts at 0 with each document.
    """
    body, output, _ = causal_parts(model)
    hidden = body(input_ids=inputs, position_ids=positions, use_cache=False).last_hidden_state
    flat = targets.reshape(-1)
    rows = hidden.reshape(-1, hidden.shape[-1])
    if bool((flat == IGNORED).any()):
        chosen = (flat != IGNORED).nonzero().squeeze(-1)
        rows, flat = rows.index_select(0, chosen), flat.index_select(0, chosen)
    return trained_linear_cross_entropy(rows, output, flat, penalty)
