"""What llama.cpp tells of the tokens of an answer, put beside the text that shows them.

Where several tokens make one character, llama.cpp tells of the last one only: it then stands for the
whole character.
"""

from __future__ import annotations

from typing import Any

from kajiya.inference.logprobs import Vocabulary, text_of
from kajiya.inference.protocol import WrittenToken


class TokenLog:
    """The tokens of one answer. `top` is how many likeliest tokens are told with each."""

    def __init__(self, vocabulary: Vocabulary, top: int) -> None:
        self._vocabulary, self._top = vocabulary, top
        self._waiting: list[dict[str, Any]] = []

    def told(self, answer: dict[str, Any], text: str) -> tuple[WrittenToken, ...]:
        """The tokens that `text` completes: those of llama.cpp's `answer`, and the ones before without text.

        What a stop string cuts off is not told, nor are tokens without text.
        """
        choice = (answer.get("choices") or [{}])[0]
        self._waiting += (choice.get("logprobs") or {}).get("content") or []
        if not text:
            return ()
        shown, at, written = text.encode(), 0, []
        for entry in self._waiting:
            piece = self._vocabulary.piece(entry["id"])
            if not piece or at >= len(shown):
                continue
            found = shown.find(piece, at)
            if found < 0:  # a stop string begins in the middle of it
                written.append(self._written(entry, piece))
                break
            end = found + len(piece)
            written.append(self._written(entry, shown[at:end]))
            at = end
        self._waiting = []
        return tuple(written)

    def _written(self, entry: dict[str, Any], data: bytes) -> WrittenToken:
        likeliest = entry["top_logprobs"][: self._top]
        top = tuple(self._vocabulary.named(t["id"], t["logprob"]) for t in likeliest)
        return WrittenToken(text=text_of(data), data=tuple(data), logprob=entry["logprob"], top=top)
