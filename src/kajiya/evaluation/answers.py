"""Scores of one answer: does it hold the key fact, and how close is it to the expected wording?"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_NOISE = re.compile(r"[\s、。,.「」『』\"'()!?]+")
_DIGIT = re.compile(r"\d")


def normalise(text: str) -> str:
    """Width, case, spaces and punctuation taken out (`1,850円` and `１８５０ 円` become one)."""
    return _NOISE.sub("", unicodedata.normalize("NFKC", text).casefold())


def holds_key_fact(answer: str, key_fact: str) -> bool:
    """Whether the answer contains the fact, or one of several separated by `|`.

    A number must stand alone: `17分` does not hold `7分`.
    """
    text = normalise(answer)
    return any(_stands_in(fact, text) for part in key_fact.split("|") if (fact := normalise(part)))


def _stands_in(fact: str, text: str) -> bool:
    start = text.find(fact)
    while start >= 0:
        end = start + len(fact)
        before = _DIGIT.match(fact[0]) and start > 0 and _DIGIT.match(text[start - 1])
        after = _DIGIT.match(fact[-1]) and end < len(text) and _DIGIT.match(text[end])
        if not before and not after:
            return True
        start = text.find(fact, start + 1)
    return False


def character_f1(answer: str, expected: str) -> float:
    """F1 of character bigrams after `normalise`, from 0 to 1 (Japanese needs no words for it)."""
    given, wanted = _bigrams(normalise(answer)), _bigrams(normalise(expected))
    shared = sum((given & wanted).values())
    if not shared:
        return 0.0
    precision, recall = shared / sum(given.values()), shared / sum(wanted.values())
    return 2 * precision * recall / (precision + recall)


def _bigrams(text: str) -> Counter[str]:
    return Counter(text[i : i + 2] for i in range(len(text) - 1)) or Counter([text])
