"""The channel mix of RWKV-7: a squared-ReLU layer over a token and its predecessor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kajiya.models.recurrent.shift import shifted_mixtures
from kajiya.models.rwkv7.config import Rwkv7Config


class ChannelMix(nn.Module):
    """Wv · relu(Wk · lerp(x, previous x))²; names as in the official weights."""

    def __init__(self, config: Rwkv7Config, layer: int) -> None:
        super().__init__()
        self.layer = layer
        width, inner = config.hidden_size, config.intermediate_size
        self.x_k = nn.Parameter(torch.empty(1, 1, width))
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(inner, width, bias=False)

    def forward(
        self, x: Tensor, last: Tensor | None = None, starts: Tensor | None = None
    ) -> Tensor:
        """`x` `[batch, time, width]`; `last` and `starts` as of `shift`."""
        (mixed,) = shifted_mixtures(x, last, starts, (self.x_k,))
        squared: Tensor = _SquaredRelu.apply(self.key(mixed))  # type: ignore[no-untyped-call]
        result: Tensor = self.value(squared)
        return result


class _SquaredRelu(torch.autograd.Function):
    """relu(x)², keeping one tensor instead of two; its slope is 2·relu(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = torch.relu(x)
        ctx.save_for_backward(positive)
        return positive.square()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return torch.addcmul(positive.new_zeros(()), grads[0], positive, value=2)
