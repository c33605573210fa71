"""The channel mix of RWKV-6: a gated squared-ReLU layer over a token and its predecessor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kajiya.models.recurrent.shift import shift
from kajiya.models.rwkv6.config import Rwkv6Config


class ChannelMix(nn.Module):
    """σ(Wr · lerp_r(x)) ⊙ Wv · relu(Wk · lerp_k(x))²; names as in the official weights."""

    def __init__(self, config: Rwkv6Config) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.time_maa_k = nn.Parameter(torch.zeros(1, 1, width))
        self.time_maa_r = nn.Parameter(torch.zeros(1, 1, width))
        self.key = nn.Linear(width, inner, bias=False)
        self.receptance = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(inner, width, bias=False)

    def forward(
        self, x: Tensor, last: Tensor | None = None, starts: Tensor | None = None
    ) -> Tensor:
        """`x` `[batch, time, width]`; `last` and `starts` as in `shift`."""
        dx = shift(x, last, starts) - x
        key = torch.relu(self.key(torch.addcmul(x, dx, self.time_maa_k))).square()
        receptance = torch.sigmoid(self.receptance(torch.addcmul(x, dx, self.time_maa_r)))
        result: Tensor = receptance * self.value(key)
        return result
