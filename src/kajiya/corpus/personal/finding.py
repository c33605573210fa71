"""What a finder reports, and the text as finders read it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "email", "card", "my_number", "bank_account", "phone", "postal_code", "address", "name"
]
KINDS: tuple[Kind, ...] = get_args(Kind)  # where two overlap, the kind named first stands

_SPACES = "\u3000\u00a0\t"
_HYPHENS = "‐‑‒–—―−－─"
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])( ?)[ーｰ](?= ?[0-9])")
_PLAIN = str.maketrans(
    {
        **{chr(0xFF01 + i): chr(0x21 + i) for i in range(0x5E)},
        **dict.fromkeys(_SPACES, " "),
        **dict.fromkeys(_HYPHENS, "-"),
    }
)


@dataclass(frozen=True)
class Finding:
    """Characters `start` to `end` of a text are personal data of a kind."""

    kind: Kind
    start: int
    end: int


def plain(text: str) -> str:
    """The text with full-width ASCII, spaces and every kind of hyphen as ASCII, character by character.

    The long vowel mark becomes a hyphen too where it is typed between digits.
    """
    return _BETWEEN_DIGITS.sub(r"\1-", text.translate(_PLAIN))


def digits_of(text: str) -> str:
    """The digits in it."""
    return "".join(character for character in text if character in "0123456789")
