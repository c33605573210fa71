"""The state of a recurrent model between two tokens, and the tuned state that documents start from.

A sequence of any length is held in a few megabytes: for each layer the last input of the time mix,
the last input of the channel mix, and the matrix-valued WKV state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr


@dataclass(frozen=True)
class LayerState:
    """One layer's part of a `RecurrentState`: `[batch, width]`, `[batch, heads, value, key]`, `[batch, width]`."""

    att_shift: Tensor
    wkv: Tensor
    ffn_shift: Tensor


@dataclass(frozen=True)
class RecurrentState:
    """The state of a batch of sequences, layers stacked in front.

    `wkv` is `[layers, batch, heads, value, key]` in 32 bits; the shifts are `[layers, batch, width]` in
    the model's precision. Never changed in place: a state may be kept and continued from many times.
    """

    att_shift: Tensor
    wkv: Tensor
    ffn_shift: Tensor

    @classmethod
    def from_layers(cls, layers: Sequence[LayerState]) -> RecurrentState:
        """Stack the layers' parts, first layer first."""
        return cls(
            torch.stack([layer.att_shift for layer in layers]),
            torch.stack([layer.wkv for layer in layers]),
            torch.stack([layer.ffn_shift for layer in layers]),
        )

    @classmethod
    def stack(cls, states: Sequence[RecurrentState]) -> RecurrentState:
        """One batch of all rows of `states`, in order."""
        return cls(
            torch.cat([state.att_shift for state in states], dim=1),
            torch.cat([state.wkv for state in states], dim=1),
            torch.cat([state.ffn_shift for state in states], dim=1),
        )

    @property
    def batch_size(self) -> int:
        """Number of sequences."""
        return self.wkv.shape[1]

    @property
    def byte_count(self) -> int:
        """Size in bytes."""
        return self.att_shift.nbytes + self.wkv.nbytes + self.ffn_shift.nbytes

    def layer(self, index: int) -> LayerState:
        """The part of layer `index`, as views."""
        return LayerState(self.att_shift[index], self.wkv[index], self.ffn_shift[index])

    def select(self, rows: Tensor | Sequence[int]) -> RecurrentState:
        """A batch of the given rows, in the given order; a row may be given several times."""
        index = torch.as_tensor(rows, device=self.wkv.device)
        return self._map(lambda tensor: tensor.index_select(1, index))

    def to(self, device: torch.device | str) -> RecurrentState:
        """The same state on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def detach(self) -> RecurrentState:
        """The same numbers without their history."""
        return self._map(lambda tensor: tensor.detach())

    def _map(self, change: Callable[[Tensor], Tensor]) -> RecurrentState:
        return RecurrentState(change(self.att_shift), change(self.wkv), change(self.ffn_shift))


def mix(states: Sequence[tuple[RecurrentState, float]]) -> RecurrentState:
    """The weighted sum of states of equal shape; weights that sum to 1 give a mean."""
    return RecurrentState(
        torch.stack([state.att_shift * weight for state, weight in states]).sum(0),
        torch.stack([state.wkv * weight for state, weight in states]).sum(0),
        torch.stack([state.ffn_shift * weight for state, weight in states]).sum(0),
    )


def add_time_state(model: nn.Module) -> dict[str, nn.Parameter]:
    """Give every layer of `model` a tunable initial state, zero, and return them by name.

    They are parameters `…att.time_state`, `[heads, value, key]` in 32 bits, whatever the model's
    precision. Where a layer has one already it is kept. Raises `ConfigError` if the model is not one
    that a state can be tuned for.
    """
    found: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        if "time_state" not in module._parameters:
            continue
        if module.time_state is None:
            weight = next(module.parameters())
            shape = (module.heads, module.head_size, module.head_size)
            module.time_state = nn.Parameter(
                torch.zeros(shape, dtype=torch.float32, device=weight.device)
            )
        assert isinstance(module.time_state, nn.Parameter)
        found[f"{name}.time_state"] = module.time_state
    if not found:
        raise ConfigError(
            tr(
                "an initial state can be tuned for RWKV models only",
                "初期状態の調整は RWKV モデルでのみできます",
            ),
            where=type(model).__name__,
            fix=tr("choose an RWKV base, or tune a LoRA", "RWKV を選ぶか、LoRA で調整してください"),
        )
    return found
