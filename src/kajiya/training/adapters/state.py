"""State tuning: the base is frozen, and what is learnt is the state that every document starts from.

`blocks.{i}.att.time_state` `[heads, value, key]` is one head's size of numbers a channel and layer, far
fewer than the weights, and costs nothing when the model answers: it takes the place of the zeros that a
conversation would start from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kajiya.models.recurrent.state import add_time_state
from kajiya.models.recurrent.tuned import TunedState, read_from, save_state, weights_sha256
from kajiya.training.config import TuneConfig


def add_state(model: Any) -> Any:
    """`model` with an initial state of zeros, in 32 bits, that is trained; other weights as they were.

    Raises `ConfigError` if it is not a recurrent model.
    """
    for parameter in add_time_state(model).values():
        parameter.requires_grad_(True)
    return model


def save_tuned_state(
    model: Any, folder: Path, base_folder: Path, base_reference: str, config: TuneConfig
) -> None:
    """Write the model's initial state as `kajiya.models.recurrent.tuned` reads it."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    state = TunedState(
        values=read_from(inner),
        model_type=inner.config.model_type,
        base=base_reference,
        base_sha256=weights_sha256(base_folder),
        recipe=config.model_dump(mode="json"),
    )
    save_state(state, folder)
