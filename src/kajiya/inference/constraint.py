"""Answers that must have a form: at each token, which tokens can still lead to one (by llguidance)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from kajiya.inference.grammar import grammar_of, unreadable
from kajiya.inference.protocol import Constraint
from kajiya.models.compiled import loop


class Constraints:
    """Opens matchers for one vocabulary.

    `pieces` are the tokens' bytes (empty for special ones), `vocab_size` the model's number of logits,
    `ends` the tokens that end an answer, `encode` the tokenizer.
    """

    def __init__(
        self,
        pieces: Sequence[bytes],
        vocab_size: int,
        ends: Iterable[int],
        encode: Callable[[str], list[int]],
    ) -> None:
        self._words = -(-vocab_size // 32)
        # llguidance asks for an end; a vocabulary without one has its answers end by their form.
        known = sorted(ends) or [0]
        vocabulary = _Vocabulary(pieces, vocab_size, known, encode)
        self._tokenizer = LLTokenizer(vocabulary, n_vocab=vocab_size, eos_token=known)

    def open(self, constraint: Constraint) -> Matcher:
        """A matcher at the beginning of an answer; `ConstraintError` if the constraint cannot be read."""
        matcher = LLMatcher(self._tokenizer, grammar_of(constraint), log_level=0)
        if matcher.is_error():
            raise unreadable(constraint, matcher.get_error())
        return Matcher(matcher, self._words)


class Matcher:
    """How far one answer is."""

    def __init__(self, matcher: LLMatcher, words: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros(words, np.int32)

    @property
    def complete(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def failure(self) -> str:
        """Why it cannot go on, such as a grammar that became too large; usually empty."""
        return str(self._matcher.get_error())

    def rule_out(self, logits: Any) -> None:
        """Set the `logits` `[vocabulary]` of tokens that lead nowhere to -inf."""
        if not self._matcher.is_error():
            self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
            _apply(self._mask, logits)

    def take(self, token: int) -> None:
        """The next token of the answer."""
        self._matcher.consume_token(token)


@loop
def _apply(mask: Any, logits: Any) -> None:
    for j in range(len(logits)):
        if not (mask[j >> 5] >> (j & 31)) & 1:
            logits[j] = -np.inf


class _Vocabulary:
    """A vocabulary as llguidance takes it."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(
        self,
        pieces: Sequence[bytes],
        vocab_size: int,
        ends: list[int],
        encode: Callable[[str], list[int]],
    ) -> None:
        missing = [b""] * (vocab_size - len(pieces))
        self.tokens = [*pieces[:vocab_size], *missing]
        self.eos_token_id = ends[0]
        self.special_token_ids = [i for i, piece in enumerate(self.tokens) if not piece]
        self._encode = encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)
