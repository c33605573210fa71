"""The time mix of RWKV-6: the layer part that remembers."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from kajiya.models.recurrent.shift import shift
from kajiya.models.rwkv6.config import Rwkv6Config
from kajiya.models.rwkv6.kernel import wkv6

_MIXED = "wkvrg"  # the order of the inputs in the low-rank pair of the token shift


class TimeMix(nn.Module):
    """Names and orientations of the parameters are the official weights' (low-rank pairs: x @ w1 @ w2)."""

    time_maa_x: nn.Parameter
    time_state: nn.Parameter | None

    def __init__(self, config: Rwkv6Config) -> None:
        super().__init__()
        width, kinds = config.hidden_size, len(_MIXED)
        self.heads, self.head_size = config.num_heads, config.head_size
        for name in "x" + _MIXED:
            self.register_parameter(f"time_maa_{name}", nn.Parameter(torch.zeros(1, 1, width)))
        self.time_maa_w1 = nn.Parameter(torch.zeros(width, kinds * config.shift_rank))
        self.time_maa_w2 = nn.Parameter(torch.zeros(kinds, config.shift_rank, width))
        self.time_decay = nn.Parameter(torch.zeros(1, 1, width))
        self.time_decay_w1 = nn.Parameter(torch.zeros(width, config.decay_rank))
        self.time_decay_w2 = nn.Parameter(torch.zeros(config.decay_rank, width))
        self.time_faaaa = nn.Parameter(torch.zeros(self.heads, self.head_size))
        self.receptance = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.ln_x = nn.GroupNorm(self.heads, width, eps=config.group_norm_eps)
        self.register_parameter("time_state", None)

    def forward(
        self,
        x: Tensor,
        last: Tensor | None = None,
        wkv: Tensor | None = None,
        starts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`x` `[batch, time, width]`; returns the output and the new WKV state.

        `last` `[batch, width]` and `wkv` `[batch, heads, value, key]` continue a sequence; without
        `wkv` it starts from the tuned state, if there is one, else from zero. `starts`
        `[batch, time]` marks first tokens of documents.
        """
        batch, time, width = x.shape
        xw, xk, xv, xr, xg = self._mix(x, shift(x, last, starts) - x)
        r, k, v = self.receptance(xr), self.key(xk), self.value(xv)
        g = F.silu(self.gate(xg))
        low = torch.tanh(xw @ self.time_decay_w1) @ self.time_decay_w2
        w = -torch.exp(self.time_decay.float() + low.float())
        heads = (batch, time, self.heads, self.head_size)
        r, w, k, v = (tensor.view(heads) for tensor in (r, w, k, v))
        before = self._before(batch) if wkv is None else wkv
        y, wkv = wkv6(r, w, k, v, self.time_faaaa, before, starts, self.time_state)
        y = F.group_norm(
            y.reshape(batch * time, width),
            self.heads,
            self.ln_x.weight.to(y.dtype),
            self.ln_x.bias.to(y.dtype),
            self.ln_x.eps,
        )
        return self.output(y.view(batch, time, width).to(x.dtype) * g), wkv

    def _mix(self, x: Tensor, dx: Tensor) -> tuple[Tensor, ...]:
        """The five inputs, each as far towards the predecessor as the token itself decides."""
        kinds, _, _ = self.time_maa_w2.shape
        low = torch.tanh(torch.addcmul(x, dx, self.time_maa_x) @ self.time_maa_w1)
        low = low.view(-1, kinds, low.shape[-1] // kinds).transpose(0, 1)
        share = torch.bmm(low, self.time_maa_w2).view(kinds, *x.shape)
        share = share + torch.stack([getattr(self, f"time_maa_{name}") for name in _MIXED])
        return torch.addcmul(x, dx, share).unbind(0)

    def _before(self, batch: int) -> Tensor:
        """The WKV state before the first token of new sequences."""
        shape = (batch, self.heads, self.head_size, self.head_size)
        if self.time_state is not None:
            return self.time_state.expand(shape)
        return torch.zeros(shape, dtype=torch.float32, device=self.time_faaaa.device)
