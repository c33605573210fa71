"""What differs between the model families that GGUF files and the ecosystem's folders describe.

A family knows how to read its hyper-parameters out of GGUF metadata into a `transformers`
configuration (and back), and how its weights were changed when they were written to GGUF. Tensor
names come from the `gguf` package's own tables, so that none are listed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kajiya.core.errors import FormatError
from kajiya.core.language import tr

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Metadata = Mapping[str, Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Family:
    """One architecture, as llama.cpp names it.

    `to_config` turns GGUF metadata (keys without the architecture prefix) into the keyword
    arguments of the `transformers` configuration of type `model_type`; `to_metadata` is its inverse.
    """

    architecture: str
    model_type: str
    to_config: Callable[[Metadata], dict[str, Any]]
    to_metadata: Callable[[PretrainedConfig], dict[str, Any]]
    rotates_query_key: bool = False
    norm_offset: float = 0.0

    def from_gguf(self, name: str, array: Array, config: PretrainedConfig) -> Array:
        """Undo what llama.cpp's converter does to a tensor called `name` in `transformers`."""
        if self.norm_offset and name.endswith("norm.weight"):
            return array - self.norm_offset
        if self.rotates_query_key and (heads := _rotary_heads(name, config)):
            return _deinterleave(array, heads)
        return array

    def to_gguf(self, name: str, array: Array, config: PretrainedConfig) -> Array:
        """The inverse of `from_gguf`; also right for the rows of a LoRA `B` matrix."""
        if self.norm_offset and name.endswith("norm.weight"):
            return array + self.norm_offset
        if self.rotates_query_key and (heads := _rotary_heads(name, config)):
            return _interleave(array, heads)
        return array


def _rotary_heads(name: str, config: PretrainedConfig) -> int | None:
    if "q_proj" in name:
        return int(config.num_attention_heads)
    if "k_proj" in name:
        return int(config.num_key_value_heads)
    return None


def _interleave(array: Array, heads: int) -> Array:
    """Rows in half-split rotary order [head, 2, half] to llama.cpp's order [head, half, 2]."""
    return array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _deinterleave(array: Array, heads: int) -> Array:
    """The inverse of `_interleave`."""
    return array.reshape(heads, -1, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _common_config(meta: Metadata) -> dict[str, Any]:
    heads = meta["attention.head_count"]
    hidden = meta["embedding_length"]
    return {
        "hidden_size": hidden,
        "num_hidden_layers": meta["block_count"],
        "intermediate_size": meta["feed_forward_length"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta.get("attention.head_count_kv", heads),
        "head_dim": meta.get("attention.key_length", hidden // heads),
        "rms_norm_eps": meta["attention.layer_norm_rms_epsilon"],
        "max_position_embeddings": meta["context_length"],
        "vocab_size": meta["vocab_size"],
        "tie_word_embeddings": meta["tied"],
    }


def _common_metadata(config: PretrainedConfig) -> dict[str, Any]:
    return {
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "context_length": config.max_position_embeddings,
    }


def llama3_rope_factors(parameters: Mapping[str, Any], head_dim: int) -> Array:
    """Per-frequency divisors of the "llama3" rotary scaling, shape `[head_dim / 2]`.

    Source: the Llama 3.1 reference implementation (`apply_scaling`).
    """
    base = parameters["rope_theta"]
    frequency = 1.0 / base ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    wavelength = 2 * math.pi / frequency
    context = parameters["original_max_position_embeddings"]
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    smooth = np.clip((context / wavelength - low) / (high - low), 0.0, 1.0)
    divisors: Array = 1.0 / ((1 - smooth) / parameters["factor"] + smooth)
    return divisors.astype(np.float32)


def _llama_config(meta: Metadata) -> dict[str, Any]:
    options = _common_config(meta)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": meta.get("rope.freq_base", 1e4)}
    scaling = meta.get("rope.scaling.type", "none")
    rotated = meta.get("rope.dimension_count", options["head_dim"])
    if scaling not in ("none", "linear") or rotated != options["head_dim"]:
        raise FormatError(
            tr(
                f"rotary positions of this kind are not supported ({scaling}, {rotated})",
                f"この回転位置の方式には対応していません ({scaling}, {rotated})",
            ),
            where="rope",
        )
    if scaling == "linear":
        rope |= {"rope_type": "linear", "factor": meta["rope.scaling.factor"]}
    factors = meta.get("rope_factors")
    if factors is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": float(np.max(factors)),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        if not np.allclose(llama3_rope_factors(rope, options["head_dim"]), factors, rtol=1e-3):
            raise FormatError(
                tr(
                    "the rotary scaling of this file is not the one of Llama 3",
                    "このファイルの回転位置スケーリングは Llama 3 のものではありません",
                ),
                where="rope_freqs.weight",
            )
    return options | {"rope_parameters": rope}


def _llama_metadata(config: PretrainedConfig) -> dict[str, Any]:
    rope = config.rope_parameters
    meta = _common_metadata(config)
    if rope.get("rope_type") == "linear":
        meta |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    return meta | {
        "rope.freq_base": float(rope["rope_theta"]),
        "rope.dimension_count": config.head_dim,
        "vocab_size": config.vocab_size,
    }


def _gemma_config(meta: Metadata) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": meta.get("rope.freq_base", 1e4)}
    return _common_config(meta) | {"rope_parameters": rope}


def _gemma2_config(meta: Metadata) -> dict[str, Any]:
    layers = meta["block_count"]
    hidden, heads = meta["embedding_length"], meta["attention.head_count"]
    # llama.cpp's rule: only the 27B model (46 layers) scales queries by hidden/heads.
    scalar = hidden // heads if layers == 46 else meta["attention.key_length"]
    return _gemma_config(meta) | {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": scalar,
        "attn_logit_softcapping": meta["attn_logit_softcapping"],
        "final_logit_softcapping": meta["final_logit_softcapping"],
        "sliding_window": meta["attention.sliding_window"],
        "layer_types": _alternating(layers, period=2),
    }


def _gemma3_config(meta: Metadata) -> dict[str, Any]:
    layers = meta["block_count"]
    hidden, heads = meta["embedding_length"], meta["attention.head_count"]
    full: dict[str, Any] = {"rope_type": "default", "rope_theta": meta.get("rope.freq_base", 1e6)}
    if factor := meta.get("rope.scaling.factor"):
        full |= {"rope_type": "linear", "factor": factor}
    local = {"rope_type": "default", "rope_theta": meta.get("rope.freq_base_swa", 1e4)}
    return _common_config(meta) | {
        "hidden_activation": "gelu_pytorch_tanh",
        # llama.cpp's rule: only the 27B model (62 layers) scales queries by hidden/heads.
        "query_pre_attn_scalar": hidden // heads if layers == 62 else meta["attention.key_length"],
        "sliding_window": meta["attention.sliding_window"],
        "layer_types": _alternating(layers, period=6),
        "rope_parameters": {"full_attention": full, "sliding_attention": local},
        "attn_logit_softcapping": None,
        "final_logit_softcapping": meta.get("final_logit_softcapping"),
    }


def _alternating(layers: int, period: int) -> list[str]:
    """Every `period`-th layer attends to everything, the others to a sliding window."""
    return [
        "full_attention" if (i + 1) % period == 0 else "sliding_attention" for i in range(layers)
    ]


def _gemma_metadata(config: PretrainedConfig) -> dict[str, Any]:
    meta = _common_metadata(config)
    rope = config.rope_parameters
    full = rope.get("full_attention", rope)
    meta["rope.freq_base"] = float(full["rope_theta"])
    if "sliding_attention" in rope:
        meta["rope.freq_base_swa"] = float(rope["sliding_attention"]["rope_theta"])
    if full.get("rope_type") == "linear":
        meta |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(full["factor"])}
    for source, target in (
        ("sliding_window", "attention.sliding_window"),
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ):
        if (value := getattr(config, source, None)) is not None:
            meta[target] = value
    return meta


_LLAMA = Family("llama", "llama", _llama_config, _llama_metadata, rotates_query_key=True)
_FAMILIES = (
    _LLAMA,
    Family("gemma", "gemma", _gemma_config, _gemma_metadata, norm_offset=1.0),
    Family("gemma2", "gemma2", _gemma2_config, _gemma_metadata, norm_offset=1.0),
    Family("gemma3", "gemma3_text", _gemma3_config, _gemma_metadata, norm_offset=1.0),
)
SUPPORTED = tuple(family.architecture for family in _FAMILIES)


def family_of_gguf(architecture: str) -> Family:
    """The family that llama.cpp calls `architecture`; `FormatError` if it is not supported."""
    return _find(architecture, "architecture")


def family_of_config(model_type: str) -> Family:
    """The family that `transformers` calls `model_type`; `FormatError` if it is not supported."""
    return _find(model_type, "model_type")


def _find(name: str, field: str) -> Family:
    for family in _FAMILIES:
        if getattr(family, field) == name:
            return family
    raise FormatError(
        tr(f"model family {name!r} is not supported", f"モデル系統 {name!r} には対応していません"),
        where=field,
        fix=tr(
            f"supported families: {', '.join(SUPPORTED)}",
            f"対応している系統: {', '.join(SUPPORTED)}",
        ),
    )
