"""RWKV-7 in the layout of flash-linear-attention, as hubs hold it: `config.json` and safetensors.

Its names differ, its low-rank pairs are `Linear` layers (so they lie the other way round), and layer 0
has no value pair. Older files stack the six interpolations in one tensor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.models.formats.gguf_writer import load_weights
from kajiya.models.formats.rwkv.checkpoint import Checkpoint, checked

_TOP = {
    "model.embeddings.weight": "emb.weight",
    "model.norm.weight": "ln_out.weight",
    "model.norm.bias": "ln_out.bias",
    "lm_head.weight": "head.weight",
}
_PARTS = {"pre_norm": "ln0", "attn_norm": "ln1", "ffn_norm": "ln2", "attn": "att", "ffn": "ffn"}
_ATTENTION = {
    "r_proj": "receptance",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "g_norm": "ln_x",
}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(\w+)\.(.+)")
_LOW_RANK = re.compile(r"([wavg])_lora\.lora\.(0\.weight|2\.weight|2\.bias)")
_NUMBER = {"0.weight": "1", "2.weight": "2", "2.bias": "0"}
# Settings with which the weights would mean another model than ours.
_EXPECTED = {"attn": None, "norm_first": True, "norm_bias": True, "hidden_act": "sqrelu"}


def is_fla(folder: Path) -> bool:
    """Whether the model folder `folder` is RWKV-7 in this layout."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        # Ours says `decay_rank`.
        return str(config["model_type"]).startswith("rwkv7") and "decay_low_rank_dim" in config
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read_fla(folder: Path) -> Checkpoint:
    """The model in `folder`, with official names and orientations. Raises `FormatError`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name, wanted in _EXPECTED.items():
        if config.get(name, wanted) != wanted:
            raise FormatError(
                tr(
                    f"{config[name]!r} is not supported, only {wanted!r}",
                    f"{config[name]!r} には対応していません ({wanted!r} だけです)",
                ),
                where=f"{folder / 'config.json'}: {name}",
            )
    official: dict[str, Tensor] = {}
    for name, tensor in load_weights(folder).items():
        official |= dict(_official(name, tensor, str(folder)))
    checkpoint = checked(official, str(folder))
    return Checkpoint(
        checkpoint.layout, {**checkpoint.options, **_epsilons(config)}, checkpoint.weights
    )


def _epsilons(config: Mapping[str, Any]) -> dict[str, float]:
    eps = float(config.get("norm_eps", 1e-5))
    return {"norm_eps": eps, "group_norm_eps": eps * int(config.get("head_dim") or 64)}


def _official(name: str, tensor: Tensor, where: str) -> Iterator[tuple[str, Tensor]]:
    """One of its tensors under the official name, or several for one that holds several."""
    if name in _TOP:
        yield _TOP[name], tensor
        return
    match = _LAYER.fullmatch(name)
    if match is None or match[2] not in _PARTS:
        raise FormatError(
            tr("RWKV-7 has no such tensor", "RWKV-7 にはないテンソルです"), where=f"{where}: {name}"
        )
    block, rest = f"blocks.{match[1]}.{_PARTS[match[2]]}", match[3]
    if match[2] != "attn":
        yield f"{block}.{rest}", tensor
    elif rest == "x_x":
        for letter, row in zip("rwkvag", tensor.reshape(6, -1), strict=True):
            yield f"{block}.x_{letter}", row
    elif low_rank := _LOW_RANK.fullmatch(rest):
        number = _NUMBER[low_rank[2]]
        yield f"{block}.{low_rank[1]}{number}", tensor if number == "0" else tensor.t()
    else:
        head, dot, tail = rest.partition(".")
        yield f"{block}.{_ATTENTION.get(head, head)}{dot}{tail}", tensor
