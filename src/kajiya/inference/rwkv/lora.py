"""LoRA adapters beside one base: each sequence of a batch can have its own mixture of them.

They stay apart from the weights, so that thousands of requests with different adapters share one batch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.inference.rwkv.products import ROWS
from kajiya.inference.rwkv.request import Mixture
from kajiya.models.resolve import LORA_FILE

CONFIG_FILE = "adapter_config.json"
# The layers that can be adapted, by their names in a block.
KINDS = ("att.receptance", "att.key", "att.value", "att.output", "ffn.key", "ffn.value")
_KEY = re.compile(
    r"base_model\.model\.model\.blocks\.(\d{1,4})\.((?:att|ffn)\.[a-z]+)\.lora_([AB])\.weight"
)


class Loras(NamedTuple):
    """For each of `KINDS` the factors of all adapters, in 32 bits, the scale in the second.

    `…_a` is `[adapters, layers, rank, in]`, `…_b` `[adapters, layers, rank, out]`; ranks are filled up
    with zeros to the largest, which is a multiple of `ROWS`.
    """

    r_a: Any
    r_b: Any
    k_a: Any
    k_b: Any
    v_a: Any
    v_b: Any
    output_a: Any
    output_b: Any
    ffn_key_a: Any
    ffn_key_b: Any
    ffn_value_a: Any
    ffn_value_b: Any


class LoraAdapters:
    """The LoRA adapters among the folders `adapters`, for `model`; a folder without one adds nothing.

    Raises `FormatError` for a damaged adapter and for one that changes other layers than `KINDS`.
    """

    def __init__(self, adapters: Mapping[str, Path], model: Any) -> None:
        self._model = model
        self.names = [name for name, path in adapters.items() if (path / LORA_FILE).is_file()]
        folders = [adapters[name] for name in self.names]
        read = [_read(folder) for folder in folders]
        rank = max((a.shape[0] for pairs in read for a, _ in pairs.values()), default=0)
        rank = -(-max(rank, 1) // ROWS) * ROWS
        self.loras = Loras(
            *(factor for kind in KINDS for factor in _stacked(kind, read, model, rank, folders))
        )

    def added(self, name: str, folder: Path) -> LoraAdapters:
        """These and the one in `folder`, in new arrays: whoever computes with the old ones may go on."""
        other = LoraAdapters({name: folder}, self._model)
        both = copy(self)
        both.names = [*self.names, *other.names]
        both.loras = Loras(*map(_joined, self.loras, other.loras))
        return both

    def removed(self, name: str) -> LoraAdapters:
        """These without one, in new arrays."""
        kept = [number for number, own in enumerate(self.names) if own != name]
        rest = copy(self)
        rest.names = [self.names[number] for number in kept]
        rest.loras = Loras(*(factor[kept] for factor in self.loras))
        return rest

    def shares(self, mixtures: Sequence[Mixture]) -> Any:
        """How much of each adapter each sequence has, `[batch, adapters]`."""
        shares = np.zeros((len(mixtures), len(self.names)), np.float32)
        for row, mixture in zip(shares, mixtures, strict=True):
            for name, scale in mixture:
                if name in self.names:
                    row[self.names.index(name)] += scale
        return shares


def _read(folder: Path) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
    """By layer and kind, A `[rank, in]` and B `[out, rank]`, the scale in B."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        rank, alpha = float(config["r"]), float(config["lora_alpha"])
        scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
        tensors = load_file(folder / LORA_FILE)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, ZeroDivisionError) as error:
        raise FormatError(
            tr(f"not a complete LoRA ({error!r})", f"LoRA として読めません ({error!r})"),
            where=str(folder),
        ) from None
    halves: dict[tuple[int, str], dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or match[2] not in KINDS:
            raise FormatError(
                tr(f"{key!r} cannot be adapted here", f"{key!r} の LoRA には対応していません"),
                where=str(folder / LORA_FILE),
            )
        if not tensor.isfinite().all():
            raise FormatError(
                tr(
                    f"{key!r} holds numbers that are not finite",
                    f"{key!r} に有限でない数があります",
                ),
                where=str(folder / LORA_FILE),
            )
        halves.setdefault((int(match[1]), match[2]), {})[match[3]] = tensor.float()
    broken = [place for place, pair in halves.items() if len(pair) != 2]
    if broken:
        raise FormatError(
            tr(
                f"half of the LoRA of {broken[0]} is missing", f"{broken[0]} の LoRA が欠けています"
            ),
            where=str(folder / LORA_FILE),
        )
    return {place: (pair["A"], pair["B"] * scale) for place, pair in halves.items()}


def _joined(first: Any, second: Any) -> Any:
    """The adapters of both, filled up with zeros to the larger rank."""
    sizes = np.maximum(first.shape[1:], second.shape[1:])
    out = np.zeros((len(first) + len(second), *sizes), np.float32)
    for part, own in ((out[: len(first)], first), (out[len(first) :], second)):
        part[:, :, : own.shape[2]] = own
    return out


def _stacked(
    kind: str,
    read: list[dict[tuple[int, str], tuple[Tensor, Tensor]]],
    model: Any,
    rank: int,
    folders: list[Path],
) -> tuple[Any, Any]:
    """All adapters' factors for one kind of layer, zeros where an adapter has none."""
    blocks = model.model.blocks
    rows, columns = blocks[0].get_submodule(kind).weight.shape
    a = np.zeros((len(read), len(blocks), rank, columns), np.float32)
    b = np.zeros((len(read), len(blocks), rank, rows), np.float32)
    for number, pairs in enumerate(read):
        for (layer, name), (first, second) in pairs.items():
            if name != kind:
                continue
            own = first.shape[0]
            if layer >= len(blocks) or first.shape[1] != columns or second.shape != (rows, own):
                raise FormatError(
                    tr(
                        f"the LoRA of {name} in layer {layer} does not fit this model",
                        f"第 {layer} 層 {name} の LoRA の形がモデルと合いません",
                    ),
                    where=str(folders[number]),
                )
            a[number, layer, :own] = first.numpy()
            b[number, layer, :own] = second.T.numpy()
    return a, b
