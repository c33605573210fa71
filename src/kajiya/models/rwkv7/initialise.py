"""How an RWKV-7 starts when it is trained from nothing, and which rates its parameters learn at.

Both follow the reference implementation of RWKV-7.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from kajiya.models.rwkv7.channel_mix import ChannelMix
from kajiya.models.rwkv7.config import Rwkv7Config
from kajiya.models.rwkv7.time_mix import TimeMix


def initialise(module: nn.Module, config: Rwkv7Config) -> None:
    """Fill the parameters of `module` that no checkpoint gave a value; of its parts only where it must.

    To be called for each module of a model; a linear layer is filled by the module that knows its role.
    """
    if isinstance(module, TimeMix):
        _time_mix(module, config)
    elif isinstance(module, ChannelMix):
        rho = 1 - module.layer / config.num_hidden_layers
        _set(module.x_k, 1 - _rising(config) ** (rho**4))
        _orthogonal(module.key.weight, 1.0)
        _set(module.value.weight, torch.zeros(()))
    elif isinstance(module, nn.LayerNorm):
        _set(module.weight, torch.ones(()))
        _set(module.bias, torch.zeros(()))
    elif isinstance(module, nn.Embedding):
        _set(module.weight, torch.empty_like(module.weight).uniform_(-1e-4, 1e-4))


def initialise_head(head: nn.Linear) -> None:
    """Fill the output matrix `[vocabulary, width]`."""
    vocabulary, width = head.weight.shape
    _orthogonal(head.weight, 0.5 * math.sqrt(max(1.0, vocabulary / width)))


def _time_mix(mix: TimeMix, config: Rwkv7Config) -> None:
    rho = 1 - mix.layer / config.num_hidden_layers
    rising = _rising(config)
    powers = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}
    for name, power in powers.items():
        _set(mix.get_parameter(f"x_{name}"), 1 - rising ** (power * rho))
    depth = mix.layer / max(1, config.num_hidden_layers - 1)
    width = config.hidden_size
    even = torch.arange(width) / (width - 1)
    line = even - 0.5
    within = torch.arange(width) % config.head_size / ((config.head_size - 1) / 2) - 1
    zigzag = within * within.abs()
    _set(mix.w0, -6 + 6 * even ** (1 + depth**0.3) + 0.5 + 2.5 * zigzag)
    _set(mix.a0, -0.19 + 0.3 * zigzag + 0.4 * line)
    _set(mix.k_k, 0.71 - 0.1 * line)
    _set(mix.k_a, torch.tensor(1.02))
    _set(mix.r_k, torch.tensor(-0.04))
    if mix.layer > 0:
        _set(mix.v0, 0.73 - 0.4 * line)
    for name in "wagv" if mix.layer > 0 else "wag":
        _set(mix.get_parameter(f"{name}1"), torch.zeros(()))
        _orthogonal(mix.get_parameter(f"{name}2"), 0.1)
    _orthogonal(mix.receptance.weight, 1.0)
    _orthogonal(mix.key.weight, 0.1)
    _orthogonal(mix.value.weight, 1.0)
    _set(mix.output.weight, torch.zeros(()))
    level = ((mix.layer + 1) / config.num_hidden_layers) ** 0.7
    _set(mix.ln_x.weight, torch.tensor(level))
    _set(mix.ln_x.bias, torch.zeros(()))


def _rising(config: Rwkv7Config) -> Tensor:
    return torch.arange(config.hidden_size) / config.hidden_size


def _is_new(parameter: Tensor) -> bool:
    """Whether `transformers` has loaded no value into it."""
    return not getattr(parameter, "_is_hf_initialized", False)


@torch.no_grad()
def _set(parameter: Tensor, values: Tensor) -> None:
    if _is_new(parameter):
        parameter.copy_(values)


@torch.no_grad()
def _orthogonal(parameter: Tensor, gain: float) -> None:
    if _is_new(parameter):
        # The factorisation behind it exists in 32 bits only.
        values = torch.empty(parameter.shape, dtype=torch.float32, device=parameter.device)
        parameter.copy_(nn.init.orthogonal_(values, gain))


def parameter_groups(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """What an optimiser is given for training all of `model`: parameters, rate and decay a group.

    The decay's offset `w0` learns at twice the rate; weight decay applies to matrices (embedding and
    linear layers) only, not to the factors of low-rank pairs. `scale` is a group's share of the
    learning rate, for schedules. Parameters that need no gradient are left out.
    """
    matrices, fast, others = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith(".w0"):
            fast.append(parameter)
        elif name.endswith(".weight") and parameter.ndim == 2:
            matrices.append(parameter)
        else:
            others.append(parameter)
    groups = [(matrices, 1.0, weight_decay), (others, 1.0, 0.0), (fast, 2.0, 0.0)]
    return [
        {"params": found, "lr": learning_rate * scale, "scale": scale, "weight_decay": decay}
        for found, scale, decay in groups
        if found
    ]
