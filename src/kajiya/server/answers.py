"""Replies that are a list of choices: those of chat and text completions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kajiya.inference.protocol import GenerateChunk, TokenLogprob, Usage
from kajiya.server.errors import ApiError
from kajiya.server.streaming import event

Choice = dict[str, Any]


class Shape(Protocol):
    """How the choices of one kind of reply look: whole, and in pieces."""

    whole_object: str
    piece_object: str

    def whole(self, index: int, answer: GenerateChunk) -> Choice:
        """A whole answer."""

    def pieces(self, index: int, chunk: GenerateChunk) -> list[Choice]:
        """What is sent of a piece of an answer."""


@dataclass
class Answer:
    """One reply in the making. `choices` is the number of answers to each prompt, `state` what is kept."""

    id: str
    model: str
    shape: Shape
    choices: int
    with_usage: bool
    state: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))
    used: dict[int, Usage] = field(default_factory=dict)

    def whole(self, answers: dict[int, GenerateChunk]) -> dict[str, Any]:
        """See `Reply`."""
        for index, answer in answers.items():
            self._count(index, answer)
        return {
            **self._head(self.shape.whole_object),
            **self._kept(),
            "choices": [self.shape.whole(index, answer) for index, answer in answers.items()],
            "usage": self._usage(),
        }

    def begin(self) -> Iterator[str]:
        """See `Reply`."""
        return iter(())

    def take(self, index: int, chunk: GenerateChunk) -> Iterator[str]:
        """See `Reply`."""
        self._count(index, chunk)
        kept = self._kept() if chunk.finish_reason else {}
        for choice in self.shape.pieces(index, chunk):
            yield event(self._piece([choice]) | kept)

    def end(self) -> Iterator[str]:
        """See `Reply`."""
        if self.with_usage:
            yield event({**self._piece([]), "usage": self._usage()})
        yield event("[DONE]")

    def failed(self, error: ApiError) -> Iterator[str]:
        """See `Reply`."""
        yield event(error.body())

    def _piece(self, choices: list[Choice]) -> dict[str, Any]:
        usage = {"usage": None} if self.with_usage else {}
        return {**self._head(self.shape.piece_object), "choices": choices, **usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _kept(self) -> dict[str, str]:
        return {"state": self.state} if self.state else {}

    def _count(self, index: int, chunk: GenerateChunk) -> None:
        if chunk.usage:
            self.used[index] = chunk.usage

    def _usage(self) -> dict[str, int]:
        read, written = total(self.used, self.choices)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def total(used: Mapping[int, Usage], choices: int) -> tuple[int, int]:
    """Tokens read and written by several answers; `choices` of them to one prompt read it once."""
    read = sum(usage.prompt_tokens for index, usage in used.items() if index % choices == 0)
    return read, sum(usage.completion_tokens for usage in used.values())


def told(token: TokenLogprob) -> dict[str, Any]:
    """A token and its probability."""
    data = list(token.data) or None
    return {"token": token.text, "bytes": data, "logprob": token.logprob}
