"""What a sequence starts from: zeros, or tuned states by name, mixed by weight."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from kajiya.inference.protocol import unknown_adapter
from kajiya.inference.rwkv.request import Mixture
from kajiya.models.recurrent.state import RecurrentState
from kajiya.models.recurrent.tuned import check_shape, load_state, weights_sha256
from kajiya.models.resolve import STATE_FILE


class InitialStates:
    """The tuned states in the folders `adapters`, for the model in `folder` with this configuration.

    An adapter without one adds nothing.
    """

    def __init__(self, folder: Path, adapters: Mapping[str, Path], config: Any) -> None:
        self._folder, self._config = folder, config
        self._shape = (config.num_hidden_layers, 1, config.hidden_size)
        heads, size = config.num_heads, config.head_size
        self._zero = torch.zeros(config.num_hidden_layers, heads, size, size)
        self._values: dict[str, torch.Tensor] = {}
        for name, path in adapters.items():
            self.add(name, path)

    @cached_property
    def base_sha256(self) -> str:
        """Of the weights: reads them all, so only where there is a state to compare with."""
        return weights_sha256(self._folder)

    def add(self, name: str, path: Path) -> None:
        """Load one more; raises `ConflictError` for a state of other weights, `FormatError` if damaged."""
        values = self._zero
        if (path / STATE_FILE).is_file():
            values = load_state(path, self.base_sha256).values
            check_shape(values, self._config.to_dict(), str(path))
        self._values[name] = values

    def remove(self, name: str) -> None:
        """Forget one: whoever has begun with it goes on."""
        del self._values[name]

    def mixed(self, mixture: Mixture) -> RecurrentState:
        """The weighted sum of the states that `mixture` names, as a batch of one; of none, zeros.

        Raises `RequestError` for a name that is not loaded.
        """
        values = self._zero
        for name, scale in mixture:
            if name not in self._values:
                raise unknown_adapter(name)
            values = values + scale * self._values[name]
        zeros = torch.zeros(self._shape)
        return RecurrentState(zeros, values[:, None], zeros)
