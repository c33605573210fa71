"""Texts with edited copies whose true similarity is known, for tests and benchmarks of duplicates."""

from __future__ import annotations

import random

ALPHABET = [chr(code) for code in (*range(0x3042, 0x3094), *range(0x4E00, 0x5200))]


def shingles(text: str, width: int = 5) -> set[str]:
    """All runs of `width` characters; the whole text if it is shorter."""
    return {text[i : i + width] for i in range(max(1, len(text) - width + 1))}


def jaccard(one: str, other: str, width: int = 5) -> float:
    """The true Jaccard similarity of two texts' shingles."""
    some, others = shingles(one, width), shingles(other, width)
    return len(some & others) / len(some | others)


def random_text(length: int, generator: random.Random) -> str:
    """Characters drawn from kana and kanji."""
    return "".join(generator.choices(ALPHABET, k=length))


def edited(text: str, edits: int, generator: random.Random) -> str:
    """The text after some characters were replaced, put in or taken out."""
    letters = list(text)
    for _ in range(edits):
        place = generator.randrange(len(letters))
        match generator.randrange(3):
            case 0:
                letters[place] = generator.choice(ALPHABET)
            case 1:
                letters.insert(place, generator.choice(ALPHABET))
            case _:
                del letters[place]
    return "".join(letters)


def pairs(
    count: int, generator: random.Random, least: float = 0.0, most: float = 0.12
) -> list[tuple[str, str, float]]:
    """Texts of 100 to 2,000 characters, a copy of each with a share of `least` to `most` edited, and
    their similarity (0.2 to 1 by default)."""
    found = []
    for _ in range(count):
        text = random_text(round(10 ** generator.uniform(2, 3.3)), generator)
        copy = edited(text, round(len(text) * generator.uniform(least, most)), generator)
        found.append((text, copy, jaccard(text, copy)))
    return found
