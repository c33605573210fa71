"""Tokenizers side by side on the same texts: how many tokens, and what they are made of.

Only measures; `lab_page` and the command line show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from kajiya.tokenizer.vocabularies import Vocabulary

# On a slide of the first meeting of LLM-jp (2023): 51 characters, 66 tokens in GPT-3. The newline that
# the form it was typed into puts at its end is one of either.
EXAMPLE = "大手SNSなどのプラットフォームはこれまで、利用者の投稿の内容への責任を負うことなく、成長してきた。\n"
_AT_ONCE = 256  # texts read at a time
_WORST = 5
_SHORTEST = 20  # characters of a text that may be among the worst; shorter ones say little


@dataclass(frozen=True)
class Text:
    """A text to compare on. `title` is for people."""

    title: str
    text: str


@dataclass(frozen=True)
class Worst:
    """A text that takes many tokens for its characters."""

    title: str
    beginning: str
    characters: int
    tokens: int


@dataclass(frozen=True)
class Piece:
    """A token in a sentence: its id, bytes, and text (None where it is part of a character)."""

    id: int
    bytes: bytes
    text: str | None


@dataclass(frozen=True)
class Measures:
    """What a tokenizer did with the texts.

    `partial` are tokens that hold only part of a character (bytes of it), `uncovered` the characters
    written so or not at all, `used` the different tokens that occurred.
    """

    name: str
    size: int
    characters: int
    bytes: int
    tokens: int
    partial: int
    unknown: int
    uncovered: int
    used: int
    worst: tuple[Worst, ...]

    @property
    def characters_per_token(self) -> float:
        """The higher, the more text fits into a context."""
        return self.characters / max(1, self.tokens)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of UTF-8."""
        return self.bytes / max(1, self.tokens)

    @property
    def coverage(self) -> float:
        """The share of characters that are written in whole."""
        return 1 - min(1.0, self.uncovered / max(1, self.characters))

    @property
    def fallback(self) -> float:
        """The share of tokens that are parts of characters."""
        return self.partial / max(1, self.tokens)

    def cost(self, yen: float) -> float:
        """Yen for a million characters, if a million tokens cost `yen`."""
        return yen * self.tokens / max(1, self.characters)


def measure(vocabulary: Vocabulary, texts: Iterable[Text]) -> Measures:
    """Read all `texts` with one tokenizer."""
    kinds = [_kind(token) for token in vocabulary.tokens]
    characters = size = tokens = partial = unknown = uncovered = 0
    seen: set[int] = set()
    worst: list[tuple[float, Worst]] = []
    source = iter(texts)
    while several := list(islice(source, _AT_ONCE)):
        for text, ids in zip(several, vocabulary.encode([t.text for t in several]), strict=True):
            counted: dict[int, int] = {}
            for index in ids:
                counted[index] = counted.get(index, 0) + 1
            seen |= counted.keys()
            characters += len(text.text)
            size += len(text.text.encode())
            tokens += len(ids)
            for index, times in counted.items():
                if index in vocabulary.unknown:
                    unknown += times
                    uncovered += times
                elif (starts := kinds[index]) is not None:
                    partial += times
                    uncovered += starts * times
            if len(text.text) >= _SHORTEST:
                found = Worst(text.title, text.text[:60], len(text.text), len(ids))
                worst.append((found.characters / max(1, found.tokens), found))
        worst = sorted(worst, key=lambda item: item[0])[:_WORST]
    return Measures(
        vocabulary.name,
        vocabulary.size,
        characters,
        size,
        tokens,
        partial,
        unknown,
        uncovered,
        len(seen),
        tuple(found for _, found in worst),
    )


def pieces(vocabulary: Vocabulary, sentence: str) -> list[Piece]:
    """The tokens of a sentence, one by one."""
    return [
        Piece(index, token, _text(token))
        for index in vocabulary.encode([sentence])[0]
        for token in [vocabulary.tokens[index]]
    ]


def _kind(token: bytes) -> int | None:
    """None for a token of whole characters; else how many characters begin in it."""
    return None if _text(token) is not None else sum(byte & 0xC0 != 0x80 for byte in token)


def _text(token: bytes) -> str | None:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return None
