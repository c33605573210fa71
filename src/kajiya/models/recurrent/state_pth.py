"""Initial states as the community exchanges them: a `.pth` with only `blocks.{i}.att.time_state`.

RWKV-6 and RWKV-7 files alike hold `[heads, value, key]`: the RWKV-6 runtime transposes on loading, so
its own state is the other way round, and the file is not. Only tensors are unpickled, never code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from kajiya.core.errors import FormatError
from kajiya.core.files import replacing
from kajiya.core.language import tr
from kajiya.models.formats.pickled import read_pickled
from kajiya.models.recurrent.tuned import stack_layers

_MARK = "time_state"


def read_state_pth(path: Path) -> Tensor:
    """The initial states in a `.pth` file, `[layers, heads, value, key]` in 32 bits.

    Raises `NotFoundError` if there is no such file and `FormatError`, with the reason, for a file that
    would run code, is cut short, is a whole model, or holds tensors of the wrong shape.
    """
    found = read_pickled(path)
    others = sorted(name for name in found if _MARK not in name)
    if others:
        command = f"kajiya models import {path}"
        raise FormatError(
            tr(
                f"it holds more than an initial state: {', '.join(others[:3])} …",
                f"初期状態以外のものがあります: {', '.join(others[:3])} …",
            ),
            where=str(path),
            fix=tr(f"if it is a model: {command}", f"モデルなら: {command}"),
        )
    tensors = {name[name.rfind("blocks.") :]: tensor for name, tensor in found.items()}
    return stack_layers(tensors, str(path))


def write_state_pth(values: Tensor, path: Path) -> None:
    """Write `values` `[layers, heads, value, key]` as other RWKV programs read it, in 32 bits."""
    tensors = {
        f"blocks.{index}.att.time_state": layer.float().clone()
        for index, layer in enumerate(values.detach().cpu().unbind())
    }
    with replacing(path) as scratch:
        torch.save(tensors, scratch)
