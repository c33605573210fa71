"""What a sequence starts from: zeros, or tuned states by name, mixed by weight."""

from __future__ import annotations

from collections.abc import Mapping
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

    An adapter without one adds nothing. Raises `ConflictError` for a state of other weights,
    `FormatError` for a damaged one.
    """

    def __init__(self, folder: Path, adapters: Mapping[str, Path], config: Any) -> None:
        self._shape = (config.num_hidden_layers, 1, config.hidden_size)
        heads, size = config.num_heads, config.head_size
        self._zero = torch.zeros(config.num_hidden_layers, heads, size, size)
        self._values = {}
        tuned = {name for name, path in adapters.items() if (path / STATE_FILE).is_file()}
        sha256 = weights_sha256(folder) if tuned else None  # reads all of the weights
        for name, path in adapters.items():
            self._values[name] = self._zero
            if name in tuned:
                self._values[name] = load_state(path, sha256).values
                check_shape(self._values[name], config.to_dict(), str(path))

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
