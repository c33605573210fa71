"""One document of a corpus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A text and where it came from.

    `id` is unique in its source. Documents with the same `group` tell the same thing (two editions of
    one work) and are never split between training and held-out text.
    """

    id: str
    text: str
    group: str
    title: str = ""
    author: str = ""
