"""LoRA by PEFT: made, trained through our own linear layer, saved in PEFT's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kajiya.core.files import write_json
from kajiya.training.adapters.lora_linear import use_fused_lora
from kajiya.training.config import TuneConfig


def add_lora(model: Any, config: TuneConfig) -> Any:
    """A PEFT model with a fresh adapter on every linear layer of `model`, which is frozen.

    The adapter is kept in 32 bits whatever the base's precision.
    """
    from peft import LoraConfig, get_peft_model

    options = LoraConfig(
        r=config.rank,
        lora_alpha=int(config.lora_alpha) if config.lora_alpha.is_integer() else config.lora_alpha,
        lora_dropout=config.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(model, options)
    use_fused_lora(tuned)
    return tuned


def save_lora(model: Any, folder: Path, base_reference: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, which any PEFT program reads.

    The base is recorded by its reference, never by a path of this machine.
    """
    for options in model.peft_config.values():
        options.base_model_name_or_path = base_reference
    model.save_pretrained(folder, save_embedding_layers=False)
    # PEFT writes an empty model card; ours is made by the store.
    (folder / "README.md").unlink(missing_ok=True)
    # PEFT keeps the module names as a set, whose order differs from process to process.
    config = folder / "adapter_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values["target_modules"] = sorted(values["target_modules"])
    write_json(config, values)
