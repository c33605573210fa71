"""The Swallow Corpus's rules once more, slowly and word for word, to compare the compiled ones with.

N-grams are of characters, ends of lines included: the top one among all, the repeated among the different
ones. So its authors' program counts; decision 0020 says where ours differs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

WORDS = Path(__file__).parents[2] / "src/kajiya/corpus/rules/words"
_SENTENCE = re.compile(r"[^。．！？!?]+[。．！？!?]?")
_RUN = re.compile(r"[A-Za-z]")
_HIRAGANA = re.compile(r"[\u3041-\u3096]")
_KATAKANA = re.compile(r"[\u30a1-\u30fa\uff66-\uff6f\uff71-\uff9d]")
_KANJI = re.compile(r"[\u3005\u3007\u303b\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_PUNCTUATION = re.compile(r"[。．！？、，]")
_STOPS = "。．！？!?"


def word_list(name: str) -> list[str]:
    lines = (WORDS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [word for line in lines if (word := line.partition("#")[0].strip())]


NG_WORDS = word_list("adult") + word_list("discrimination") + word_list("violence")
FOOTER_WORDS = word_list("footer")


def pattern(words: list[str]) -> re.Pattern[str]:
    """Any of `words` at a position, the longest first; runs of Latin letters and of katakana are not cut."""
    latin = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a"
    katakana = r"\u30a1-\u30fa\uff66-\uff9dー"
    parts = []
    for word in sorted(set(words), key=lambda word: (-len(word), word)):
        part = "".join(
            f"[{c.lower()}{c.upper()}]" if _RUN.fullmatch(c) else re.escape(c) for c in word
        )
        for run in (latin, katakana):
            if re.match(f"[{run}]", word):
                part = f"(?<![{run}])" + part
            if re.search(f"[{run}]$", word):
                part += f"(?![{run}])"
        parts.append(part)
    return re.compile("|".join(parts))


_NG = pattern(NG_WORDS)
_FOOTER = pattern(FOOTER_WORDS)


def covered(text: str, words: re.Pattern[str]) -> int:
    """Characters of `text` that are in any of the words."""
    found: set[int] = set()
    match = words.search(text)
    while match:
        found.update(range(*match.span()))
        match = words.search(text, match.start() + 1)
    return len(found)


def blank(text: str) -> bool:
    """Beyond 16 bits nothing counts as blank."""
    kinds = ("Zs", "Zl", "Zp", "Cc", "Cf")
    return all(c < "\U00010000" and unicodedata.category(c) in kinds for c in text)


def is_digit(character: str) -> bool:
    return character < "\U00010000" and unicodedata.category(character) == "Nd"


def clean(text: str) -> str:
    characters = list(text)
    for i, c in enumerate(text):
        numeric = 0 < i < len(text) - 1 and is_digit(text[i - 1]) and is_digit(text[i + 1])
        if not numeric:
            characters[i] = {"，": "、", "．": "。"}.get(c, c)
    text = "".join(characters).replace("\r\n", "\n")
    text = re.sub("[\x0b\x0c\r\x85\u2028\u2029]", "\n", text)
    text = re.sub(
        "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]",
        "",
        text,
    )
    lines = text.split("\n")
    solid = [i for i, line in enumerate(lines) if line.strip(" \t\u3000")]
    footers = {i for i in solid[-10:] if covered(lines[i], _FOOTER) > 0.3 * len(lines[i])}
    if not footers:
        return text
    kept = [line + "\n" for line in lines[:-1]] + [lines[-1]]
    return "".join(line for i, line in enumerate(kept) if i not in footers)


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def repeated(items: list[str]) -> tuple[float, float]:
    """By number and by characters."""
    more = [(item, count - 1) for item, count in Counter(items).items()]
    return (
        share(sum(count for _, count in more), len(items)),
        share(sum(count * len(item) for item, count in more), sum(map(len, items))),
    )


def _without_blanks(text: str) -> str:
    while text and blank(text[-1]):
        text = text[:-1]
    return text


def statistics(text: str) -> dict[str, float]:
    hiragana, katakana = len(_HIRAGANA.findall(text)), len(_KATAKANA.findall(text))
    japanese = hiragana + katakana + len(_KANJI.findall(text)) + len(_PUNCTUATION.findall(text))
    lines = [line for line in text.split("\n") if not blank(line)]
    sentences = [
        found
        for line in lines
        for found in _SENTENCE.findall(line)
        if not blank(found.rstrip(_STOPS))
    ]
    sizes = [len(sentence) for sentence in sentences]
    ellipses = [s for s in sentences if _without_blanks(s).endswith(("…", "‥", "・", "..."))]
    stats: dict[str, float] = {
        "length": len(text),
        "japanese_characters": japanese,
        "japanese": share(japanese, len(text)),
        "hiragana": share(hiragana, japanese),
        "katakana": share(katakana, japanese),
        "mean_sentence": share(sum(sizes), len(sizes)),
        "longest_sentence": max(sizes, default=0),
        "ellipsis": share(len(ellipses), len(sentences)),
        "ng_share": share(covered(text, _NG), len(text)),
    }
    stats["repeated_lines"], stats["repeated_line_characters"] = repeated(lines)
    stats["repeated_sentences"], stats["repeated_sentence_characters"] = repeated(sentences)
    for n in range(2, 11):
        grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
        if n < 5:
            stats[f"top_{n}gram"] = share(max(grams.values(), default=0), grams.total())
        else:
            more = sum(count > 1 for count in grams.values())
            stats[f"repeated_{n}gram"] = share(more, len(grams))
    return stats


def is_kept(stats: dict[str, float]) -> bool:
    return (
        stats["length"] >= 400
        and stats["japanese_characters"] >= 400
        and stats["japanese"] >= 0.5
        and stats["hiragana"] >= 0.2
        and stats["katakana"] <= 0.5
        and 20 <= stats["mean_sentence"] <= 90
        and stats["longest_sentence"] <= 200
        and stats["ellipsis"] <= 0.2
        and stats["repeated_lines"] <= 0.30
        and stats["repeated_line_characters"] <= 0.20
        and stats["repeated_sentences"] <= 0.30
        and stats["repeated_sentence_characters"] <= 0.20
        and stats["top_2gram"] <= 0.20
        and stats["top_3gram"] <= 0.18
        and stats["top_4gram"] <= 0.16
        and stats["repeated_5gram"] <= 0.15
        and stats["repeated_6gram"] <= 0.14
        and stats["repeated_7gram"] <= 0.13
        and stats["repeated_8gram"] <= 0.12
        and stats["repeated_9gram"] <= 0.11
        and stats["repeated_10gram"] <= 0.10
        and stats["ng_share"] < 0.05
    )
