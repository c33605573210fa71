"""A request on its way through the engine: what it wants, how far it is, and where its answer goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from kajiya.inference.constraint import Matcher
from kajiya.inference.logprobs import TokenLog
from kajiya.inference.protocol import ConstraintError, FinishReason, GenerateChunk, Usage
from kajiya.inference.sampling import Sampler
from kajiya.inference.text import TextWriter
from kajiya.models.recurrent.state import RecurrentState

Mixture = tuple[tuple[str, float], ...]


@dataclass(eq=False)
class Pending:
    """One answer in the making.

    It begins from the state `initial` and has its own in `slot`, once it has one. `prompt[:read]` has
    been read, the first `carried` tokens of it for an earlier request; at `parting` the prompt parts
    from an earlier one (0: nowhere). `written` are the tokens chosen so far; the last of them has not
    been read. With `keep`, `final` is the state at the end.
    """

    prompt: tuple[int, ...]
    mixture: Mixture
    room: int
    stop_ids: frozenset[int]
    sampler: Sampler
    writer: TextWriter
    on_chunk: Callable[[GenerateChunk], bool]
    reuse: bool
    initial: RecurrentState | None = None
    matcher: Matcher | None = None
    log: TokenLog | None = None
    carried: int = 0
    keep: bool = False
    final: RecurrentState | None = None
    read: int = 0
    parting: int = 0
    slot: int = -1
    written: list[int] = field(default_factory=list)
    cancelled: bool = False
    error: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def reading(self) -> bool:
        """Whether some of the prompt has not been read."""
        return self.read < len(self.prompt)

    def next_tokens(self, limit: int) -> tuple[int, ...]:
        """What to read next: the token chosen last, or up to `limit` of the prompt, not past `parting`."""
        if not self.reading:
            return (self.written[-1],)
        end = self.parting if self.read < self.parting else len(self.prompt)
        return self.prompt[self.read : min(self.read + limit, end)]

    def wants_token(self, count: int) -> bool:
        """Whether the next token can be chosen once `count` more have been read."""
        return self.read + count >= len(self.prompt)

    def gives_up(self) -> bool:
        """Whether nobody waits for the answer any more; asked while the prompt is read."""
        self.cancelled |= self.on_chunk(GenerateChunk())
        return self.cancelled

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
        if self.log is not None:
            self.log.chose(token)
        text = self.writer.write(token)
        if self.writer.stopped:
            return self._finish("stop", text)
        if self.matcher is not None and self.matcher.complete:
            return self._finish("stop", text + self.writer.end())
        if len(self.written) >= self.room:
            return self._finish("length", text + self.writer.end())
        tokens = () if self.log is None else self.log.shown(text)
        self.cancelled |= self.on_chunk(
            GenerateChunk(text=text, tokens=tokens, usage=self._usage())
        )
        return self.cancelled

    def _finish(self, reason: FinishReason, text: str) -> bool:
        tokens = () if self.log is None else self.log.shown(text, last=True)
        usage = self._usage()
        self.on_chunk(GenerateChunk(text=text, tokens=tokens, finish_reason=reason, usage=usage))
        return True

    def _usage(self) -> Usage:
        own = len(self.prompt) - self.carried
        return Usage(prompt_tokens=own, completion_tokens=len(self.written))
