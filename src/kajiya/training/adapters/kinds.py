"""The kinds of adapters, one interface: put a fresh one into a model, say how fast it learns, save it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kajiya.models.recurrent.tuned import check_shape, load_state, weights_sha256, write_into
from kajiya.models.resolve import STATE_FILE
from kajiya.training.adapters.lora import add_lora, save_lora
from kajiya.training.adapters.state import add_state, save_tuned_state
from kajiya.training.config import TuneConfig


def add_adapter(model: Any, config: TuneConfig) -> Any:
    """`model`, frozen, with a fresh adapter of the kind that `config.method` names; only that is trained.

    A model with a LoRA is PEFT's; the initial state stays in the base inside it.
    """
    model.requires_grad_(False)
    if config.tunes_lora:
        model = add_lora(model, config)
    if config.tunes_state:
        model = add_state(model)
    return model


def rate_scale(name: str, config: TuneConfig) -> float:
    """By how much the learning rate of the parameter `name` exceeds `config.learning_rate`.

    The second factor of a LoRA starts at zero and lags behind the first at a common rate (LoRA+, Hayou
    et al. 2024, arXiv:2402.12354); a state beside a LoRA needs far larger steps than either.
    """
    if ".lora_B." in name:
        return config.b_ratio
    if name.endswith(".time_state") and config.tunes_lora:
        return config.state_ratio
    return 1.0


def save_adapter(
    model: Any, folder: Path, base_folder: Path, base_reference: str, config: TuneConfig
) -> None:
    """Write the adapter's files into `folder`: PEFT's for a LoRA, `state.safetensors` for a state."""
    if config.tunes_lora:
        save_lora(model, folder, base_reference)
    if config.tunes_state:
        save_tuned_state(model, folder, base_folder, base_reference, config)


def load_adapter(model: Any, folder: Path, base_folder: Path) -> Any:
    """`model`, which was loaded from `base_folder`, with the saved adapter in `folder`; not for training.

    Raises `ConflictError` if the adapter's state was learnt for other weights, and `FormatError` if it
    is damaged.
    """
    if (folder / STATE_FILE).is_file():
        state = load_state(folder, weights_sha256(base_folder))
        check_shape(state.values, model.config.to_dict(), str(folder / STATE_FILE))
        write_into(model, state.values)
    if (folder / "adapter_config.json").is_file():
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder)
    return model.requires_grad_(False).eval()
