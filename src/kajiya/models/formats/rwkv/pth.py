"""Official RWKV weights: one `.pth` file of named tensors, as BlinkDL's trainers write and read it."""

from __future__ import annotations

from pathlib import Path

import torch

from kajiya.core.files import replacing
from kajiya.models.formats.pickled import read_pickled
from kajiya.models.formats.rwkv.checkpoint import Checkpoint, checked, read_folder


def read_pth(path: Path) -> Checkpoint:
    """The RWKV-7 or RWKV-6 model in an official `.pth` file.

    Nothing in the file is run. Raises `NotFoundError` or, with the reason, `FormatError`.
    """
    return checked(read_pickled(path), str(path))


def write_pth(folder: Path, target: Path) -> None:
    """Write the RWKV model in `folder` as an official `.pth`, with the tensors that other readers expect.

    Raises `FormatError` if it is not an RWKV model.
    """
    checkpoint = read_folder(folder)
    tensors = dict(checkpoint.weights)
    width = checkpoint.options["hidden_size"]
    if checkpoint.layout.unused:
        # Layer 0 has nothing to mix its values with, but readers ask for the tensors.
        rank = checkpoint.options.get("value_rank", 32)
        dtype = tensors["emb.weight"].dtype
        shapes = {"v0": (1, 1, width), "v1": (width, rank), "v2": (rank, width)}
        for name, shape in shapes.items():
            tensors[f"blocks.0.att.{name}"] = torch.zeros(shape, dtype=dtype)
    with replacing(target) as scratch:
        torch.save(tensors, scratch)
