"""What a reader finds in one file, page or entry of a feed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extract:
    """The text, and what the item says of itself; empty where it says nothing.

    `licence` is an SPDX identifier. `problem` is what could not be read of it, in the user's language.
    `id` and `url` are those of an entry in a feed.
    """

    text: str
    title: str = ""
    author: str = ""
    language: str = ""
    licence: str = ""
    problem: str = ""
    id: str = ""
    url: str = ""
