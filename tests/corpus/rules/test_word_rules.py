"""Words as runs of a script and what is repeated of them, against a literal count."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.rules.preset import Preset
from kajiya.corpus.rules.settings import PresetSettings

NAMES = [f"top_{n}words" for n in (2, 3, 4)] + [f"repeated_{n}words" for n in range(5, 11)]
NAMES += ["mean_word", "wordless", "newlines_per_word", "punctuated_lines", "stop_words"]
PRESET = Preset(
    "own",
    PresetSettings.checked({"rules": {name: {"min": 0} for name in NAMES}}),
    Path("own.yaml"),
)
WORD = re.compile(
    r"[ぁ-ゖ][ぁ-ゖー]*|[ァ-ヺ][ァ-ヺー]*|[一-龠][一-龠ー]*|[A-Za-z][A-Za-zー]*|[0-9][0-9ー]*|ー+|[。、！.…」]"
)


def literal(text: str) -> dict[str, float]:
    words = WORD.findall(text)
    size = len(text)
    found: dict[str, float] = {}
    for n in (2, 3, 4):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        top, count = grams.most_common(1)[0] if grams else ((), 0)
        found[f"top_{n}words"] = count * len("".join(top)) / size if size else 0
    for n in range(5, 11):
        seen, again, i = set(), 0, 0
        while i <= len(words) - n:
            gram = tuple(words[i : i + n])
            if gram in seen:
                again += len("".join(gram))
                i += n
            else:
                seen.add(gram)
                i += 1
        found[f"repeated_{n}words"] = again / size if size else 0
    lines = [line for line in text.split("\n") if line.strip()]
    count = max(len(words), 1)
    found["mean_word"] = len("".join(words)) / count
    found["wordless"] = sum(word[0] in "0123456789。、！.…」" for word in words) / count
    found["newlines_per_word"] = text.count("\n") / count
    ended = sum(line.rstrip()[-1] in "。！.…」" for line in lines)
    found["punctuated_lines"] = ended / max(len(lines), 1)
    found["stop_words"] = sum(word in text for word in "のにをはがたでとも" + "て")
    return found


TOKENS = ["漢字", "かな", "の", "カナ", "ー", "abc", "12", "。", "、", "…", " ", "\n", "語を", "」"]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(TOKENS), max_size=90).map("".join), max_size=4))
def test_words_against_a_literal_count(texts: list[str]) -> None:
    found = PRESET.apply(pl.DataFrame({"text": texts}, {"text": pl.String}))
    for text, row in zip(texts, found.iter_rows(named=True), strict=True):
        for name, value in literal(text).items():
            assert row[f"stat.{name}"] == pytest.approx(value), (name, text)
