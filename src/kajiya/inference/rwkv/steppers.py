"""The ways to take every sequence of a batch a token further, all with the same result."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from kajiya.inference.rwkv.batch import States
from kajiya.inference.rwkv.step import allocate, step
from kajiya.inference.rwkv.team import Team
from kajiya.inference.rwkv.weights import Weights


class Stepper(Protocol):
    """Changes the states of some sequences in place."""

    def step(self, tokens: Any, slots: Any) -> Any:
        """Read `tokens` `[batch]` in `slots` `[batch]`; logits `[batch, vocabulary]`, until the next call."""


class CompiledStepper:
    """All layers in one compiled function; for RWKV-7 on a CPU."""

    def __init__(self, weights: Weights, states: States, team: Team) -> None:
        self._weights, self._states, self._team = weights, states, team
        self._memory = allocate(weights, len(states.wkv))

    def step(self, tokens: Any, slots: Any) -> Any:
        """See `Stepper.step`."""
        self._team.run(step, self._weights, self._memory, tokens, slots, *self._states.parts)
        return self._memory.logits[: len(tokens)]


class TorchStepper:
    """The model itself, a token at a time; for any recurrent model on any device."""

    def __init__(self, model: Any, states: States) -> None:
        self._model, self._states = model, states

    @torch.no_grad()
    def step(self, tokens: Any, slots: Any) -> Any:
        """See `Stepper.step`."""
        device = self._model.device
        out = self._model(
            input_ids=torch.from_numpy(tokens)[:, None].to(device),
            state=self._states.get(slots).to(device),
            use_cache=True,
            logits_to_keep=1,
        )
        self._states.put_all(slots, out.state.to("cpu"))
        return out.logits[:, -1].float().cpu().numpy()
