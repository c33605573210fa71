"""RWKV-7 as a `transformers` model. Parameter names are the official weights', under `model.` for the body."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from kajiya.models.recurrent.model import RecurrentForCausalLM, RecurrentModel
from kajiya.models.recurrent.state import LayerState
from kajiya.models.rwkv7.channel_mix import ChannelMix
from kajiya.models.rwkv7.config import Rwkv7Config
from kajiya.models.rwkv7.initialise import initialise, initialise_head
from kajiya.models.rwkv7.time_mix import TimeMix


class Block(GradientCheckpointingLayer):  # type: ignore[misc]
    """A layer: time mix and channel mix, each after a norm and added to its input."""

    def __init__(self, config: Rwkv7Config, layer: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.norm_eps
        if layer == 0:
            self.ln0 = nn.LayerNorm(width, eps)
        self.ln1 = nn.LayerNorm(width, eps)
        self.ln2 = nn.LayerNorm(width, eps)
        self.att = TimeMix(config, layer)
        self.ffn = ChannelMix(config, layer)

    def forward(
        self,
        x: Tensor,
        v_first: Tensor | None,
        past: LayerState | None,
        starts: Tensor | None,
    ) -> tuple[Tensor, Tensor, LayerState]:
        """`x` `[batch, time, width]`; returns it, layer 0's values and this layer's new state."""
        h = self.ln1(x)
        last, wkv = (None, None) if past is None else (past.att_shift, past.wkv)
        out, v_first, wkv = self.att(h, v_first, last, wkv, starts)
        x = x + out
        g = self.ln2(x)
        x = x + self.ffn(g, None if past is None else past.ffn_shift, starts)
        return x, v_first, LayerState(h[:, -1], wkv, g[:, -1])


class Rwkv7Model(RecurrentModel):
    """The body: tokens to hidden states."""

    config_class = Rwkv7Config
    block = Block
    _no_split_modules = ["Block"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        initialise(module, self.config)


class Rwkv7ForCausalLM(RecurrentForCausalLM):
    """The language model: the body and an output matrix."""

    config_class = Rwkv7Config
    body = Rwkv7Model
    _no_split_modules = ["Block"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        initialise(module, self.config)
        if module is self.head:
            initialise_head(self.head)
