"""Puts the fast kernels into a model, by the classes that `transformers` gives its modules."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor

from kajiya.training.adapters.lora_linear import is_plain_lora, join, lora_linear
from kajiya.training.kernels import attention, operations

# How a normalisation's weight becomes its gain.
_GAINS = {
    "GemmaRMSNorm": lambda weight: 1.0 + weight.float(),
    "Gemma2RMSNorm": lambda weight: 1.0 + weight.float(),
    "Gemma3RMSNorm": lambda weight: 1.0 + weight.float(),
    "LlamaRMSNorm": lambda weight: weight.float(),
}
_ATTENTION = ("GemmaAttention", "Gemma2Attention", "Gemma3Attention", "LlamaAttention")
_GATED = ("GemmaMLP", "Gemma2MLP", "Gemma3MLP", "LlamaMLP")
_GELU = {"gelu_pytorch_tanh": True, "silu": False}


def use_fast_kernels(model: Any, longest: int) -> None:
    """Put the faster operations into a model whose base is frozen and whose rows have ≤ `longest` tokens.

    A GPU has its own; modules of classes not listed keep their code, and so does attention over long rows.
    """
    first = next(model.parameters())
    if first.device.type != "cpu" or first.dtype not in (torch.float32, torch.bfloat16):
        return
    short = longest <= attention.LONGEST
    if short:
        attention.use_grouped_attention(model)
    modules = list(model.modules())
    for module in modules:
        gain = _GAINS.get(type(module).__name__)
        if gain is not None and not module.weight.requires_grad:
            module.kajiya_gain = gain(module.weight)
            module.kajiya_eps = getattr(module, "eps", None) or module.variance_epsilon
            module.forward = MethodType(_normalise, module)
    for module in modules:
        if short and type(module).__name__ in _ATTENTION:
            attention.join_projections(module)
        if type(module).__name__ in _GATED:
            _join_gate(module)


def _normalise(module: Any, x: Tensor) -> Tensor:
    return operations.rms_norm(x, module.kajiya_gain, module.kajiya_eps)


def _join_gate(module: Any) -> None:
    layers = [module.gate_proj, module.up_proj]
    config = module.config
    name = getattr(config, "hidden_activation", None) or config.hidden_act
    plain = all(is_plain_lora(layer) and layer.base_layer.bias is None for layer in layers)
    if plain and name in _GELU:
        module.kajiya_layers, module.kajiya_weight = tuple(layers), join(layers)
        module.kajiya_gelu = _GELU[name]
        module.forward = MethodType(_gated, module)


def _gated(module: Any, x: Tensor) -> Tensor:
    """The feed-forward network, `[..., width]` to `[..., width]`."""
    y = lora_linear(x.flatten(0, -2), module.kajiya_layers, module.kajiya_weight, None)
    result: Tensor = module.down_proj(operations.gate(y, module.kajiya_gelu))
    return result.view(x.shape)
