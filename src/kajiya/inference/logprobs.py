"""What is told of each token of an answer: its text, its probability, and what else was likely."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from kajiya.inference.protocol import TokenLogprob, WrittenToken
from kajiya.tokenizer.token_bytes import token_bytes


class Vocabulary:
    """Names for the tokens of one model."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.pieces: Sequence[bytes] = token_bytes(tokenizer)
        self._tokenizer = tokenizer

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; none for special ones and for ids without a token."""
        return self.pieces[token] if token < len(self.pieces) else b""

    def named(self, token: int, logprob: float) -> TokenLogprob:
        """A token as it is told; a special one by its name, with no bytes."""
        piece = self.piece(token)
        text = text_of(piece) if piece else (self._tokenizer.id_to_token(token) or "")
        return TokenLogprob(text=text, data=tuple(piece), logprob=logprob)


def text_of(piece: bytes) -> str:
    r"""A token's text; one that is only part of a character as `bytes:\xe9\x8d`, like OpenAI's."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


class TokenLog:
    """The tokens of one answer, each told with the piece of text that completes it.

    `top` is how many likeliest tokens are told with each. Tokens without text are not told.
    """

    def __init__(self, vocabulary: Vocabulary, top: int) -> None:
        self._vocabulary, self._top = vocabulary, top
        self._logits: Any = None
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._read = self._shown = 0  # characters
        self._waiting: deque[tuple[int, int, WrittenToken]] = deque()

    def see(self, logits: Any) -> None:
        """Keep the model's own `logits` `[vocabulary]`, before anything changes them."""
        self._logits = logits.copy()

    def chose(self, token: int) -> None:
        """The next token of the answer."""
        piece = self._vocabulary.piece(token)
        if not piece:
            return
        logprobs = _log_softmax(self._logits)
        named = self._vocabulary.named(token, float(logprobs[token]))
        top = [
            self._vocabulary.named(int(i), float(logprobs[i])) for i in largest(logprobs, self._top)
        ]
        start = self._read
        self._read += len(self._decoder.decode(piece))
        unfinished = bool(self._decoder.getstate()[0])
        written = WrittenToken(**dict(named), top=tuple(top))
        self._waiting.append((start, self._read + unfinished, written))

    def shown(self, text: str, *, last: bool = False) -> tuple[WrittenToken, ...]:
        """The tokens that `text`, the next that is shown, completes.

        After the `last` text, what was cut off by a stop string or left unfinished is not told, but the
        token of which a part is shown is.
        """
        self._shown += len(text)
        told = []
        while self._waiting:
            start, end, written = self._waiting[0]
            if not (start < self._shown if last else end <= self._shown):
                break
            told.append(written)
            self._waiting.popleft()
        return tuple(told)


def largest(values: Any, count: int) -> Any:
    """Where the `count` largest of `values` are, the largest first, the first of equals first."""
    count = min(count, len(values))
    if count == 0:
        return np.zeros(0, np.int64)
    least = np.partition(values, -count)[-count]
    candidates = np.flatnonzero(values >= least)
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]


def _log_softmax(logits: Any) -> Any:
    z = logits.astype(np.float64)
    z -= z.max()
    return z - np.log(np.exp(z).sum())
