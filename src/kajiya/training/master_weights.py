"""Training in bf16 with weights kept in fp32: steps too small for bf16 are not lost.

Micikevicius et al. 2018 (arXiv:1710.03740). The optimiser sees the fp32 weights only.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class MasterWeights:
    """`master`, whose fp32 weights are stepped, and `working`, which computes in `dtype`.

    In fp32 both are one model. Buffers keep their precision.
    """

    def __init__(self, master: nn.Module, dtype: torch.dtype) -> None:
        self.master: Any = master
        self.parameters: list[Tensor] = list(master.parameters())
        self._same = dtype == torch.float32
        self.working: Any = master if self._same else copy.deepcopy(master)
        self._copies: list[Tensor] = list(self.working.parameters())
        if not self._same:
            for parameter in self._copies:
                parameter.data = parameter.data.to(dtype)

    @torch.no_grad()
    def collect(self) -> None:
        """Add the working model's gradients to the masters' and clear them."""
        if self._same:
            return
        for parameter, working in zip(self.parameters, self._copies, strict=True):
            if working.grad is None:
                continue
            if parameter.grad is None:
                parameter.grad = working.grad.float()
            else:
                parameter.grad += working.grad
            working.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the masters into the working model."""
        if not self._same:
            torch._foreach_copy_(self._copies, self.parameters)

    @torch.no_grad()
    def assign(self, values: dict[str, Tensor]) -> None:
        """Set the weights by name."""
        for name, parameter in self.master.named_parameters():
            parameter.copy_(values[name])
        self.publish()
