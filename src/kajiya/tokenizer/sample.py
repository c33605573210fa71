"""A sample of sentences from texts of any size: at random, the same each time, in bounded memory."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

# The end of a sentence, or a thousand characters without one.
_SENTENCE = re.compile(r"[^。\n]{0,999}[。\n]|[^。\n]{1,1000}")
_SLACK = 1.5  # how far the sample may outgrow its size before it is cut back


@dataclass(frozen=True)
class Sample:
    """Sentences in their order. `characters` is their length, `seen` that of all texts."""

    sentences: list[str]
    characters: int
    seen: int


def sentences(text: str) -> Iterator[str]:
    """`text` cut after each 。 and newline; its parts, joined, are the text again."""
    return (match[0] for match in _SENTENCE.finditer(text))


def repaired(text: str) -> str:
    """`text` without half characters (lone surrogates, which JSON can hold), each now U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def sample_sentences(
    texts: Iterable[str],
    characters: int,
    seed: int = 0,
    tell: Callable[[int], None] = lambda seen: None,
) -> Sample:
    """About `characters` of `texts`, at most, in whole sentences; all if there are no more.

    Each sentence is as likely to be drawn as any other, and the draw depends on `seed` and the order
    of the texts only. Holds at most one and a half times `characters`. `tell` hears how many
    characters have been seen.
    """
    draw = random.Random(seed).random  # noqa: S311
    kept: list[tuple[float, int, str]] = []
    limit, size, seen, number = 1.0, 0, 0, 0
    for text in texts:
        for sentence in sentences(repaired(text)):
            number += 1
            ticket = draw()
            if ticket < limit:
                kept.append((ticket, number, sentence))
                size += len(sentence)
        seen += len(text)
        tell(seen)
        if size > _SLACK * characters:
            kept, size, limit = _cut_back(kept, characters)
    if size > characters:
        kept, size, limit = _cut_back(kept, characters)
    kept.sort(key=lambda item: item[1])
    return Sample([sentence for *_, sentence in kept], size, seen)


def _cut_back(
    kept: list[tuple[float, int, str]], characters: int
) -> tuple[list[tuple[float, int, str]], int, float]:
    """The sentences of the lowest tickets that fit, their size, and the first ticket that does not."""
    kept.sort()
    size = 0
    for index, (ticket, _, sentence) in enumerate(kept):
        if size + len(sentence) > characters:
            return kept[:index], size, ticket
        size += len(sentence)
    return kept, size, 1.0
