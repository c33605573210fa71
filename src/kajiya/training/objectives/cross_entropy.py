"""Cross-entropy over a large vocabulary, only where there is a label, never all logits at once.

The output matrix is frozen, so the gradient with respect to the hidden states can be computed in the
forward pass. The vocabulary is gone through once, in blocks that stay in the cache: a block's logits
become exponentials, which are added up and multiplied with the same rows of the output matrix; the
division by their sum comes last, as in FlashAttention (Dao et al. 2022, arXiv:2205.14135, section 3.1).

In 16 bits, entries of the vocabulary that no label gives a probability above 2^-17 are left out of that
second product, as in Cut Cross-Entropy (Wijmans et al. 2024, arXiv:2411.09009, section 4.2); here the mean
row of the output matrix stands for them, with the probability that they have together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.weak import WeakTensorKeyDictionary

from kajiya.models.compiled import array
from kajiya.training.kernels import loops

CHUNK = 256  # labels at once
BLOCK = 4096  # entries of the vocabulary at once: 2 MB of logits in 16 bits for a full chunk
RARE = 2.0**-17  # measured in docs/decisions/0010-training-on-a-cpu.md
# Sizes are rounded up: a CPU's matrix library compiles its products anew for each new shape.
_ROUND_LABELS = 32
_ROUND_ENTRIES = 2048
_means: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


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
            losses, gradient[rows] = _rounded(hidden[rows], weight, labels[rows], softcap)
            total += losses.sum(dtype=torch.float64)
        ctx.save_for_backward(gradient)
        return total.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None


def _rounded(
    hidden: Tensor, weight: Tensor, labels: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Loss `[labels]` and gradient `[labels, width]`, by way of a round number of labels."""
    count = len(labels)
    more = -count % _ROUND_LABELS
    repeated = torch.arange(count + more, device=labels.device) % count
    losses, gradient = _chunk(hidden[repeated], weight, labels[repeated], softcap)
    return losses[:count], gradient[:count]


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
    # Exponentials overflow 88 above the shift and vanish as far below it: none is needed as a rule.
    shift = torch.zeros_like(target)
    total, weighted = _sweep(hidden, weight, target, shift, softcap)
    if not (torch.isfinite(total) & (total > 0)).all():
        shift = target
        for start in range(0, len(weight), BLOCK):
            logits = _logits(hidden, weight[start : start + BLOCK], softcap)
            shift = torch.maximum(shift, logits.amax(0).to(wide))
        total, weighted = _sweep(hidden, weight, target, shift, softcap)
    losses = total.log() + shift - target
    return losses, weighted.div_(total.unsqueeze(1)).sub_(wanted)


def _sweep(
    hidden: Tensor, weight: Tensor, target: Tensor, shift: Tensor, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Σ exp(logit − shift) `[labels]`, and the same weighted with ∂logit/∂hidden `[labels, width]`."""
    total = torch.zeros_like(target)
    weighted = torch.zeros(hidden.shape, dtype=target.dtype, device=hidden.device)
    least = (target - shift).exp()  # the sum cannot be less than one of its terms
    shifted = bool(shift.any())
    common: list[tuple[Tensor, Tensor]] = []  # powers and entries
    for start in range(0, len(weight), BLOCK):
        block = weight[start : start + BLOCK]
        powers = _logits(hidden, block, softcap)
        if shifted:
            powers -= shift.to(powers.dtype)
        powers.exp_()
        largest = _tally(powers, torch.maximum(total, least), total)
        if hidden.dtype == torch.bfloat16:
            chosen = (largest > RARE).nonzero().squeeze(1)
            common.append((powers.index_select(0, chosen), chosen + start))
        else:
            weighted += _sloped(powers, shift, softcap).t() @ block
    if common:
        powers, entries = torch.cat([p for p, _ in common]), torch.cat([e for _, e in common])
        kept = powers.sum(0, dtype=total.dtype)
        more = -len(entries) % _ROUND_ENTRIES
        powers = pad(_sloped(powers, shift, softcap), (0, 0, 0, more))
        weighted += powers.t() @ weight.index_select(0, pad(entries, (0, more)))
        weighted += (total - kept).unsqueeze(1) * _mean(weight)
    return total, weighted


def _sloped(powers: Tensor, shift: Tensor, softcap: float | None) -> Tensor:
    """Exponentials of capped logits times the slope of the cap."""
    if softcap is None:
        return powers
    logits = powers.clamp_min(1e-37).log_() + shift.to(powers.dtype)
    return powers * (1 - (logits / softcap).square_())


def _logits(hidden: Tensor, block: Tensor, softcap: float | None) -> Tensor:
    """`[block, labels]`: with the larger matrix first, the product needs no other layout of it."""
    logits = block @ hidden.t()
    return logits if softcap is None else logits.div_(softcap).tanh_().mul_(softcap)


def _tally(powers: Tensor, bound: Tensor, total: Tensor) -> Tensor:
    """Add the rows of `powers` `[block, labels]` to `total`; the largest of each row over `bound`."""
    if powers.device.type == "cpu" and total.dtype == torch.float32:
        largest = torch.empty(len(powers))
        loops.tally(array(powers), array(bound.reciprocal()), array(total), array(largest))
        return largest
    largest = (powers / bound).amax(1)
    total += powers.sum(0, dtype=total.dtype)
    return largest


def _mean(weight: Tensor) -> Tensor:
    """The mean row `[width]` of a frozen matrix, in 32 bits; computed once."""
    if weight not in _means:
        blocks = weight.detach().split(BLOCK)
        _means[weight] = sum(block.sum(0, dtype=torch.float32) for block in blocks) / len(weight)
    mean: Tensor = _means[weight]
    return mean


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, softcap: float | None = None
) -> Tensor:
    """Sum over labels of −log softmax(hidden · weightᵀ)[label], in nats; a scalar in fp32.

    `hidden` is `[labels, width]`, `weight` `[vocabulary, width]` (no gradient flows to it), `labels`
    `[labels]`. `softcap` applies `cap · tanh(logits / cap)` first (Gemma 2).
    """
    result: Tensor = _LinearCrossEntropy.apply(hidden, weight, labels, softcap)  # type: ignore[no-untyped-call]
    return result
