"""The time mix of RWKV-7: the layer part that remembers."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from kajiya.models.recurrent.shift import shifted_mixtures
from kajiya.models.rwkv7.config import Rwkv7Config
from kajiya.models.rwkv7.core import CoreParameters, Projections, core
from kajiya.models.rwkv7.fused import fused_core


class TimeMix(nn.Module):
    """Names and orientations of the parameters are the official weights' (low-rank pairs: x @ w1 @ w2)."""

    x_r: nn.Parameter
    x_w: nn.Parameter
    x_k: nn.Parameter
    x_v: nn.Parameter
    x_a: nn.Parameter
    x_g: nn.Parameter
    w0: nn.Parameter
    w1: nn.Parameter
    w2: nn.Parameter
    a0: nn.Parameter
    a1: nn.Parameter
    a2: nn.Parameter
    v1: nn.Parameter
    v2: nn.Parameter
    g1: nn.Parameter
    g2: nn.Parameter
    k_k: nn.Parameter
    k_a: nn.Parameter
    time_state: nn.Parameter | None

    def __init__(self, config: Rwkv7Config, layer: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.layer = layer
        self.heads, self.head_size = config.num_heads, config.head_size
        for name in ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "w0", "a0", "k_k", "k_a"):
            self.register_parameter(name, nn.Parameter(torch.empty(1, 1, width)))
        self._low_rank("w", width, config.decay_rank)
        self._low_rank("a", width, config.rate_rank)
        self._low_rank("g", width, config.gate_rank)
        if layer > 0:
            self.v0 = nn.Parameter(torch.empty(1, 1, width))
            self._low_rank("v", width, config.value_rank)
        self.r_k = nn.Parameter(torch.empty(self.heads, self.head_size))
        self.receptance = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.ln_x = nn.GroupNorm(self.heads, width, eps=config.group_norm_eps)
        self.register_parameter("time_state", None)

    def _low_rank(self, name: str, width: int, rank: int) -> None:
        self.register_parameter(f"{name}1", nn.Parameter(torch.empty(width, rank)))
        self.register_parameter(f"{name}2", nn.Parameter(torch.empty(rank, width)))

    def forward(
        self,
        x: Tensor,
        v_first: Tensor | None,
        last: Tensor | None = None,
        wkv: Tensor | None = None,
        starts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`x` `[batch, time, width]`; `v_first` is what layer 0 returned (None in layer 0 itself).

        `last` `[batch, width]` and `wkv` `[batch, heads, value, key]` continue a sequence; without
        `wkv` it starts from the tuned state, if there is one, else from zero. `starts`
        `[batch, time]` marks first tokens of documents. Returns the output, `v_first` and the new WKV
        state.
        """
        shares = (self.x_r, self.x_w, self.x_k, self.x_v, self.x_a, self.x_g)
        xr, xw, xk, xv, xa, xg = shifted_mixtures(x, last, starts, shares)
        projections = Projections(
            r=self.receptance(xr),
            w=torch.tanh(xw @ self.w1) @ self.w2,
            k=self.key(xk),
            v=self.value(xv),
            a=_with_offset(xa @ self.a1, self.a2, self.a0),
            g=torch.sigmoid(xg @ self.g1) @ self.g2,
            mix=None if v_first is None else _with_offset(xv @ self.v1, self.v2, self.v0),
            v_first=v_first,
        )
        parameters = CoreParameters(
            self.w0, self.k_k, self.k_a, self.r_k, self.ln_x.weight, self.ln_x.bias
        )
        whole = core if x.is_cuda or x.shape[1] == 1 else fused_core
        state = self._before(wkv, x.shape[0])
        y, wkv = whole(projections, parameters, self.ln_x.eps, state, starts, self.time_state)
        return self.output(y), projections.v if v_first is None else v_first, wkv

    def _before(self, wkv: Tensor | None, batch: int) -> Tensor:
        """The WKV state before the first token."""
        if wkv is not None:
            return wkv
        shape = (batch, self.heads, self.head_size, self.head_size)
        if self.time_state is not None:
            return self.time_state.expand(shape)
        return torch.zeros(shape, dtype=torch.float32, device=self.r_k.device)


def _with_offset(x: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    """x·factor + offset, in one operation."""
    return F.linear(x, factor.t(), offset.view(-1))
