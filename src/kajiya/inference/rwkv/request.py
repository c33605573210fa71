"""A request on its way through the engine: what it wants, how far it is, and where its answer goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from kajiya.inference.constraint import Matcher
from kajiya.inference.protocol import ConstraintError, FinishReason, GenerateChunk, Usage
from kajiya.inference.sampling import Sampler
from kajiya.inference.text import TextWriter
from kajiya.models.recurrent.state import RecurrentState

Mixture = tuple[tuple[str, float], ...]


@dataclass(eq=False)
class Pending:
    """One answer in the making.

    `prompt[:read]` has been read, and `state` comes after it; at `parting` the prompt parts from an
    earlier one (0: nowhere). Once all is read the state is in the batch, in `slot`. `written` are the
    tokens chosen so far; the last of them has not been read.
    """

    prompt: tuple[int, ...]
    mixture: Mixture
    room: int
    stop_ids: frozenset[int]
    sampler: Sampler
    writer: TextWriter
    on_chunk: Callable[[GenerateChunk], bool]
    reuse: bool
    matcher: Matcher | None = None
    read: int = 0
    parting: int = 0
    state: RecurrentState | None = None
    slot: int = -1
    written: list[int] = field(default_factory=list)
    cancelled: bool = False
    error: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def add(self, token: int) -> bool:
        """Take the next token and pass on what can be shown; whether this was the last."""
        self.written.append(token)
        self.sampler.chose(token)
        if self.matcher is not None:
            self.matcher.take(token)
            if self.matcher.failure:
                self.error = ConstraintError(self.matcher.failure)
                return True
        if token in self.stop_ids:
            return self._finish("stop", self.writer.end())
        text = self.writer.write(token)
        if self.writer.stopped:
            return self._finish("stop", text)
        if self.matcher is not None and self.matcher.complete:
            return self._finish("stop", text + self.writer.end())
        if len(self.written) >= self.room:
            return self._finish("length", text + self.writer.end())
        self.cancelled |= self.on_chunk(GenerateChunk(text=text))
        return self.cancelled

    def _finish(self, reason: FinishReason, text: str) -> bool:
        usage = Usage(prompt_tokens=len(self.prompt), completion_tokens=len(self.written))
        self.on_chunk(GenerateChunk(text=text, finish_reason=reason, usage=usage))
        return True
