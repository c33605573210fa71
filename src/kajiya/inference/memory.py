"""How much memory an engine will need, guessed from its files and settings before it is loaded.

A guess, to be replaced by what the loaded process really takes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kajiya.core.errors import ResourceError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import EngineSettings

_MIB = 1024**2
# A process with an empty model in it, measured: Python and llama.cpp, Python and PyTorch, vLLM's several.
_PROCESS = {"llamacpp": 70 * _MIB, "rwkv": 500 * _MIB, "vllm": 2048 * _MIB}
# Our engine holds the weights as they are (16 bits on disk) and packed in 8 or 4; exact: 32 bits, twice.
_COPIES = {"int8": 1.5, "int4": 1.3, "fp32": 4.0}
_NUMBER = 2  # bytes of a key or value in llama.cpp's cache
# Keys and values of a token for each byte of weights, where the shape is not written down.
_USUAL_SHARE = 1e-4


def estimated_memory(models: Sequence[ServableModel], settings: EngineSettings) -> int:
    """Bytes for an engine with `models`, which share one base."""
    base = models[0]
    adapters = {path for model in models for path in model.adapters.values()}
    files = sum(map(_size, adapters))
    weights = _size(base.weights)
    if base.engine == "rwkv":
        weights = int(weights * _COPIES[settings.weights])
        return _PROCESS["rwkv"] + weights + files + still_to_come(base, settings)
    context = min(settings.context_length, *(model.context_length for model in models))
    cache = settings.slots * context * _cache_per_token(base, weights)
    return _PROCESS[base.engine] + weights + files + cache


def still_to_come(base: ServableModel, settings: EngineSettings) -> int:
    """Bytes that an engine takes after it has loaded: our own has a cache that fills."""
    return settings.prefix_cache * _MIB if base.engine == "rwkv" else 0


def too_large(needed: float, limit: float, name: str = "") -> ResourceError:
    """The error for a model that the memory it may use can never hold; both in bytes."""
    wanted, given = f"{needed / _MIB:.0f} MiB", f"{limit / _MIB:.0f} MiB"
    return ResourceError(
        tr(
            f"this model takes {wanted} of memory, and {given} are allowed",
            f"このモデルには {wanted} のメモリが必要ですが、使えるのは {given} までです",
        ),
        where=name,
        fix=tr(
            "allow more (--memory), or choose fewer slots or a shorter context",
            "--memory を増やすか、同時に処理する数や文脈の長さを減らしてください",
        ),
    )


def _size(path: Path) -> int:
    """Bytes of a file, or of the weights in a folder; 0 for what is not there: loading will say so."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.safetensors"))
    return path.stat().st_size if path.is_file() else 0


def _cache_per_token(base: ServableModel, weights: int) -> int:
    """Bytes of keys and values for a token, by the configuration beside the tokenizer."""
    try:
        config = json.loads((base.folder / "config.json").read_text(encoding="utf-8"))
        heads = config.get("num_key_value_heads") or config["num_attention_heads"]
        size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        return int(2 * config["num_hidden_layers"] * heads * size * _NUMBER)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return int(weights * _USUAL_SHARE)
