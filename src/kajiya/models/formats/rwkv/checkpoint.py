"""RWKV weights between the formats of others and a model folder of ours.

Ours has the official names (`model.` before those of the body) and orientations, in safetensors, with
every size in `config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from kajiya.core.errors import FormatError
from kajiya.core.files import write_json
from kajiya.core.language import tr
from kajiya.models.formats.gguf_writer import load_weights
from kajiya.models.formats.rwkv.layout import LAYOUTS, Layout, Shape, infer, recognise

_BODY = "model."
_HEAD = "head.weight"
_CLASSES = {"rwkv7": "Rwkv7ForCausalLM", "rwkv6": "Rwkv6ForCausalLM"}


@dataclass(frozen=True)
class Checkpoint:
    """A whole model: `options` of its configuration, and `weights` by official name."""

    layout: Layout
    options: dict[str, Any]
    weights: dict[str, Tensor]


def checked(tensors: Mapping[str, Tensor], where: str) -> Checkpoint:
    """Official weights, after every check that needs no model: names, shapes, finite numbers.

    Tensors that are never used (layer 0's v0, v1, v2) are left out. Raises `FormatError`.
    """
    layout = recognise(tensors, where)
    options = infer(layout, {name: tuple(t.shape) for name, t in tensors.items()}, where)
    sizes = {**options, "heads": options["hidden_size"] // options["head_size"]}
    weights: dict[str, Tensor] = {}
    for name, shape, used in layout.shapes(options["num_hidden_layers"]):
        if not used:
            continue
        tensor = tensors[name].detach()
        if not bool(torch.isfinite(tensor).all()):
            raise FormatError(
                tr(
                    "it holds numbers that are infinite or none at all (NaN)",
                    "無限大や NaN が含まれています",
                ),
                where=f"{where}: {name}",
                fix=tr("get the file again", "ファイルを入手し直してください"),
            )
        weights[name] = tensor.reshape(_numbers(shape, sizes)).contiguous()
    return Checkpoint(layout, options, weights)


def _numbers(shape: Shape, sizes: Mapping[str, int]) -> list[int]:
    numbers = []
    for size in shape:
        if isinstance(size, int):
            numbers.append(size)
        else:
            times, key = size if isinstance(size, tuple) else (1, size)
            numbers.append(times * sizes[key])
    return numbers


def write_folder(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` into `folder`, which must exist."""
    names = {name if name == _HEAD else _BODY + name: t for name, t in checkpoint.weights.items()}
    save_file(names, folder / "model.safetensors", metadata={"format": "pt"})
    kind = checkpoint.layout.model_type
    config = {
        "model_type": kind,
        "architectures": [_CLASSES[kind]],
        "dtype": str(checkpoint.weights["emb.weight"].dtype).removeprefix("torch."),
        "tie_word_embeddings": False,
        **checkpoint.options,
    }
    write_json(folder / "config.json", config)


def read_folder(folder: Path) -> Checkpoint:
    """A model folder of ours, checked. Raises `FormatError` if it is not RWKV's."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if str(config.get("model_type")) not in LAYOUTS:
        raise FormatError(
            tr("this is not an RWKV model", "RWKV のモデルではありません"), where=str(folder)
        )
    weights = {name.removeprefix(_BODY): t for name, t in load_weights(folder).items()}
    found = checked(weights, str(folder))
    for field, size in found.options.items():
        if (said := config.get(field) or size) != size:
            raise FormatError(
                tr(
                    f"it says {said}, the weights say {size}",
                    f"設定は {said} ですが、重みは {size} です",
                ),
                where=f"{folder / 'config.json'}: {field}",
            )
    return Checkpoint(found.layout, {**found.options, **_more(config)}, found.weights)


def _more(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the weights do not show."""
    names = ("norm_eps", "group_norm_eps", "value_rank", "bos_token_id", "eos_token_id")
    return {name: config[name] for name in names if name in config}
