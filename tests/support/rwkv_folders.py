"""Folders with tiny RWKV models of every generation, every size different and every parameter at work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kajiya.models.architectures import register
from kajiya.models.rwkv6 import Rwkv6Config, Rwkv6ForCausalLM
from kajiya.models.rwkv7 import Rwkv7Config, Rwkv7ForCausalLM
from support.tiny_models import byte_level_tokenizer

register()

SIZES = {"hidden_size": 128, "num_hidden_layers": 3, "head_size": 64, "intermediate_size": 320}
RANKS = {
    "rwkv7": {"decay_rank": 24, "rate_rank": 40, "value_rank": 16, "gate_rank": 56},
    "rwkv6": {"shift_rank": 24, "decay_rank": 40},
}


def tiny_rwkv(kind: str, vocab_size: int, seed: int = 0, **sizes: Any) -> Any:
    """A random model in fp32 whose weights are bf16 numbers, so that no conversion has to round."""
    torch.manual_seed(seed)
    options = {"vocab_size": vocab_size, **SIZES, **RANKS[kind], **sizes}
    model: nn.Module
    with torch.device("meta"):  # every parameter is filled below
        if kind == "rwkv7":
            model = Rwkv7ForCausalLM(Rwkv7Config(**options))
        else:
            model = Rwkv6ForCausalLM(Rwkv6Config(**options))
    model.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = name.endswith("weight") and parameter.ndim == 1
            flat = parameter.squeeze()
            scale = 0.3 if flat.ndim == 1 else 1 / math.sqrt(flat.shape[-1])
            parameter.copy_((torch.randn_like(parameter) * scale + float(norm)).bfloat16())
    return model.requires_grad_(False).eval()


def make_rwkv(folder: Path, kind: str = "rwkv7", seed: int = 0, **sizes: Any) -> Path:
    """A model folder as ours are: configuration, bf16 weights, a small byte-level tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_level_tokenizer(folder)
    # A few rows more than the tokenizer has tokens, as released models have.
    model = tiny_rwkv(kind, tokenizer.get_vocab_size() + 7, seed, **sizes)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder
