"""Words of several lists found in one pass, against regular expressions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core.errors import DataError
from kajiya.corpus.rules.wordlists import Matches, WordSearch, read_words
from kajiya.corpus.texts import Texts
from support.swallow_rules import covered, pattern

LETTERS = "abAＢかガカーッ漢😀 。"


def find(lists: dict[str, list[str]], *texts: str) -> Matches:
    read = Texts.read(pl.Series(texts, dtype=pl.String))
    return WordSearch(lists).find(read.points, read.starts[:-1], read.starts[1:])


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from(LETTERS), min_size=1, max_size=4), min_size=1, max_size=6),
    st.lists(st.text(st.sampled_from(LETTERS), min_size=1, max_size=4), min_size=1, max_size=6),
    st.lists(st.text(st.sampled_from(LETTERS), max_size=30), max_size=4),
)
def test_counts_and_characters(one: list[str], two: list[str], texts: list[str]) -> None:
    found = find({"one": one, "two": two}, *texts)
    for column, words in enumerate((one, two)):
        expression = pattern(words)
        for row, text in enumerate(texts):
            assert found.count[row, column] == len(expression.findall(text))
            assert found.covered[row, column] == covered(text, expression)


@pytest.mark.parametrize(
    ("word", "text", "count"),
    [
        ("サック", "リュックサック、サック", 1),
        ("サック", "サック入れ", 1),
        ("sex", "Sussex. SEX, sex-x", 2),
        ("エロ", "エローラ石窟とエロ本", 1),
        ("送料無料", "送料無料送料無料", 2),
        ("ああ", "あああ", 1),
        ("𠮟る", "𠮟る", 1),
    ],
)
def test_words_within_runs(word: str, text: str, count: int) -> None:
    assert find({"list": [word]}, text).count.tolist() == [[count]]


def test_no_words_and_no_texts() -> None:
    assert find({"list": []}, "あ").count.tolist() == [[0]]
    assert np.shape(find({"list": ["あ"]}).count) == (0, 1)


def test_a_list_has_remarks_and_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff甲 # remark\r\n\n# only a remark\n 乙丙 \n".encode())
    assert read_words(path) == ["甲", "乙丙"]


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    with pytest.raises(DataError, match=r"words\.txt: the word list cannot be read"):
        read_words(path)
    path.write_bytes("甲\n".encode() + "乙".encode("cp932"))
    with pytest.raises(DataError, match=r"words\.txt:2: the line is not UTF-8"):
        read_words(path)
