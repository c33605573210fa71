"""What a conversation is made of. The server, the data checks and the training loop all speak it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Message:
    """One turn of a conversation, as its author wrote it."""

    role: Role
    content: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a rendered conversation.

    `trusted` text comes from the model's template, so special tokens in it are special; other text
    comes from people and stays text. `trained` text is what the model itself has to produce.
    """

    text: str
    trusted: bool
    trained: bool
