"""The sequences that are being written, each with a state of its own in one block of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kajiya.inference.rwkv.request import Mixture, Pending
from kajiya.models.recurrent.state import RecurrentState


class States:
    """Room for the states of `slots` sequences, in 32 bits.

    `att_shift` and `ffn_shift` are `[slots, layers, width]`, `wkv` is `[slots, layers, heads, value,
    key]`: everything of a sequence lies together.
    """

    def __init__(self, slots: int, layers: int, width: int, head_size: int) -> None:
        self.att_shift = np.zeros((slots, layers, width), np.float32)
        self.ffn_shift = np.zeros((slots, layers, width), np.float32)
        heads = width // head_size
        self.wkv = np.zeros((slots, layers, heads, head_size, head_size), np.float32)

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """The three arrays, in the order of `RecurrentState`."""
        return self.att_shift, self.wkv, self.ffn_shift

    def get(self, slots: Any) -> RecurrentState:
        """A copy of the states in `slots` `[batch]`."""
        return RecurrentState(
            *(torch.from_numpy(part[slots]).transpose(0, 1).contiguous() for part in self.parts)
        )

    def put(self, slots: Any, state: RecurrentState) -> None:
        """Have the sequences in `slots` `[batch]` go on from `state`: the reverse of `get`."""
        for part, value in zip(self.parts, _parts(state), strict=True):
            part[slots] = value.transpose(0, 1).float().numpy()


def _parts(state: RecurrentState) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return state.att_shift, state.wkv, state.ffn_shift


class Batch:
    """Who is in which slot."""

    def __init__(self, slots: int) -> None:
        self.members: list[Pending] = []
        self._free = list(range(slots))[::-1]

    @property
    def full(self) -> bool:
        return not self._free

    def join(self, member: Pending) -> None:
        """Give `member` a slot; there must be one."""
        member.slot = self._free.pop()
        self.members.append(member)

    def leave(self, member: Pending) -> None:
        """Take the slot back."""
        self.members.remove(member)
        self._free.append(member.slot)

    def last_tokens(self) -> Any:
        """`[batch]`: what each member has chosen and not read."""
        return np.array([member.written[-1] for member in self.members], np.int64)

    def mixtures(self) -> list[Mixture]:
        """What each member's model is mixed from."""
        return [member.mixture for member in self.members]

    def slots(self) -> Any:
        """`[batch]`: where each member's state is."""
        return np.array([member.slot for member in self.members], np.int64)
