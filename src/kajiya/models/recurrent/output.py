"""What a recurrent model returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput

from kajiya.models.recurrent.state import RecurrentState


@dataclass
class RecurrentOutput(ModelOutput):  # type: ignore[misc]
    """`last_hidden_state` `[batch, time, width]` after the final norm; `state` if it was asked for."""

    last_hidden_state: Tensor | None = None
    state: RecurrentState | None = None


@dataclass
class RecurrentCausalOutput(ModelOutput):  # type: ignore[misc]
    """`logits` `[batch, kept time, vocabulary]`; `loss` in nats a label, if labels were given."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: RecurrentState | None = None
