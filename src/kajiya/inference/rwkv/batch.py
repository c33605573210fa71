"""The sequences in work, each with a state of its own in one block of memory, and what a step reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from kajiya.inference.rwkv.request import Pending
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

    def reading(self) -> list[Pending]:
        """Those whose prompt has not been read to its end."""
        return [member for member in self.members if member.reading]

    def join(self, member: Pending) -> None:
        """Give `member` a slot; there must be one."""
        member.slot = self._free.pop()
        self.members.append(member)

    def leave(self, member: Pending) -> None:
        """Take the slot back."""
        self.members.remove(member)
        self._free.append(member.slot)


class Turn(NamedTuple):
    """What one member reads in a step."""

    member: Pending
    tokens: tuple[int, ...]


class Rows(NamedTuple):
    """What a step reads: a row a token, the tokens of one sequence one after the other.

    `tokens` and `slots` are `[rows]`, `shares` of the adapters `[rows, adapters]`; `last` `[answers]` are
    the rows after which a next token is wanted.
    """

    tokens: Any
    slots: Any
    shares: Any
    last: Any

    @classmethod
    def of(cls, turns: Sequence[Turn], shares: Any) -> Self:
        """The rows of all `turns`, each with `shares` `[turns, adapters]`.

        A turn that does not reach the end of its prompt wants no token.
        """
        counts = [len(turn.tokens) for turn in turns]
        ends = np.cumsum(counts) - 1
        wanted = [turn.member.wants_token(len(turn.tokens)) for turn in turns]
        return cls(
            tokens=np.array([token for turn in turns for token in turn.tokens], np.int64),
            slots=np.repeat(np.array([turn.member.slot for turn in turns], np.int64), counts),
            shares=np.repeat(shares, counts, axis=0),
            last=ends[np.array(wanted, bool)],
        )
