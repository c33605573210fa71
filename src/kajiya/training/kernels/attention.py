"""Self-attention over short rows: its projections as one product, its heads by one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from kajiya.training.adapters.lora_linear import is_plain_lora, join, lora_linear
from kajiya.training.kernels import operations

NAME = "kajiya_grouped"
LONGEST = 1024  # tokens in a row; beyond this the score matrix outweighs what is saved


def grouped_attention(
    module: nn.Module,
    query: Tensor,  # [batch, heads, time, size]
    key: Tensor,  # [batch, groups, seen, size]; `seen` is `time` but where a cache goes before
    value: Tensor,  # [batch, groups, seen, size]
    attention_mask: Tensor,  # [batch or 1, 1, time, seen], added to the scores
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """softmax(s·QKᵀ + mask)·V; returns `[batch, time, heads, size]`.

    The heads that share a key (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245) become
    rows of one product, so nothing is repeated.
    """
    batch, heads, time, size = query.shape
    groups, seen = key.shape[1:3]
    share = heads // groups
    q = query.reshape(batch * groups, share * time, size)
    k, v = key.reshape(batch * groups, seen, size), value.reshape(batch * groups, seen, size)
    mask = attention_mask.expand(batch, groups * share, time, seen)
    mask = mask.reshape(batch * groups, share * time, seen)
    if softcap is None:
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scaling)
    else:
        scores = torch.bmm(q, k.transpose(1, 2)).mul(scaling / softcap).tanh() * softcap + mask
    out = torch.bmm(torch.softmax(scores, dim=-1), v)
    return out.view(batch, heads, time, size).transpose(1, 2), None


def use_grouped_attention(model: Any) -> None:
    """Make `grouped_attention` what the attention modules of `model` call."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner.set_attn_implementation(NAME)


@dataclass(frozen=True)
class _Joined:
    """What the joined projections of one attention module need."""

    layers: list[Any]
    weight: Tensor  # [(heads + 2 groups) · size, width]
    gains: tuple[Tensor, Tensor]  # of the norm of queries and keys; empty: there is none
    eps: float
    plain: Any  # the module's own forward


def join_projections(module: Any) -> None:
    """Let `module` compute queries, keys and values together, if its projections are plain LoRA layers."""
    layers = [module.q_proj, module.k_proj, module.v_proj]
    if not all(is_plain_lora(layer) and layer.base_layer.bias is None for layer in layers):
        return
    norms = [getattr(module, name, None) for name in ("q_norm", "k_norm")]
    none = torch.empty(0)
    q_gain, k_gain = (none if norm is None else norm.kajiya_gain for norm in norms)
    eps = 0.0 if norms[0] is None else norms[0].kajiya_eps
    module.kajiya_joined = _Joined(layers, join(layers), (q_gain, k_gain), eps, module.forward)
    module.forward = MethodType(_forward, module)


def _forward(
    module: Any,
    hidden_states: Tensor,  # [batch, time, width]
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor,
    past_key_values: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    joined: _Joined = module.kajiya_joined
    if past_key_values is not None:  # generating, which is not what this is for
        result: tuple[Tensor, None] = joined.plain(
            hidden_states,
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **kwargs,
        )
        return result
    batch, time, _ = hidden_states.shape
    y = lora_linear(hidden_states.flatten(0, 1), joined.layers, joined.weight, None)
    size = module.head_dim
    groups = joined.layers[1].base_layer.out_features // size
    heads = joined.layers[0].base_layer.out_features // size
    q, k, v = operations.heads(
        y, *position_embeddings, joined.gains, joined.eps, (heads, groups, time, size)
    )
    softcap = getattr(module, "attn_logit_softcapping", None)
    out, _ = grouped_attention(module, q, k, v, attention_mask, module.scaling, softcap)
    projected: Tensor = module.o_proj(out.reshape(batch, time, heads * size))
    return projected, None
