"""RWKV-6 as a `transformers` model. Parameter names are the official weights', under `model.` for the body.

For weights that exist: they can be run and tuned, but a new model has no sensible beginning.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from kajiya.models.recurrent.model import RecurrentForCausalLM, RecurrentModel
from kajiya.models.recurrent.state import LayerState
from kajiya.models.rwkv6.channel_mix import ChannelMix
from kajiya.models.rwkv6.config import Rwkv6Config
from kajiya.models.rwkv6.time_mix import TimeMix


class Rwkv6Block(GradientCheckpointingLayer):  # type: ignore[misc]
    """A layer: time mix and channel mix, each after a norm and added to its input."""

    def __init__(self, config: Rwkv6Config, layer: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.norm_eps
        if layer == 0:
            self.ln0 = nn.LayerNorm(width, eps)
        self.ln1 = nn.LayerNorm(width, eps)
        self.ln2 = nn.LayerNorm(width, eps)
        self.att = TimeMix(config)
        self.ffn = ChannelMix(config)

    def forward(
        self, x: Tensor, first: None, past: LayerState | None, starts: Tensor | None
    ) -> tuple[Tensor, None, LayerState]:
        """`x` `[batch, time, width]`; returns it, nothing for other layers, and this layer's new state."""
        h = self.ln1(x)
        last, wkv = (None, None) if past is None else (past.att_shift, past.wkv)
        out, wkv = self.att(h, last, wkv, starts)
        x = x + out
        g = self.ln2(x)
        x = x + self.ffn(g, None if past is None else past.ffn_shift, starts)
        return x, first, LayerState(h[:, -1], wkv, g[:, -1])


class Rwkv6Model(RecurrentModel):
    """The body: tokens to hidden states."""

    config_class = Rwkv6Config
    block = Rwkv6Block
    _no_split_modules = ["Rwkv6Block"]  # noqa: RUF012


class Rwkv6ForCausalLM(RecurrentForCausalLM):
    """The language model: the body and an output matrix."""

    config_class = Rwkv6Config
    body = Rwkv6Model
    _no_split_modules = ["Rwkv6Block"]  # noqa: RUF012
