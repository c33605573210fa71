"""Texts as they are compared: against Python's own Unicode tables."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.compared import compared


def read(texts: list[str], marks: bool = True) -> list[str]:
    found = compared(pl.Series(texts, dtype=pl.String), marks)
    ends = zip(found.starts[:-1], found.starts[1:], strict=True)
    strings = [found.data[start:end].tobytes().decode() for start, end in ends]
    assert [len(string) for string in strings] == found.lengths.tolist()
    return strings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ｋａｊｉｙａ　鍛冶屋", "kajiya鍛冶屋"),
        ("ｶﾞﾗｽﾊﾞｺ", "ガラスバコ"),
        ("か\u3099き", "がき"),
        ("ﾊﾟｰﾃｨｰ", "パーティー"),
        ("㍿と㌔", "株式会社とキロ"),
        ("a\tb\r\nc\u200bd", "abcd"),
        ("①②", "12"),
        ("𠮷野家🍚", "𠮷野家🍚"),
        ("", ""),
    ],
)
def test_width_case_and_spaces_make_no_difference(text: str, expected: str) -> None:
    assert read([text]) == [expected]


def test_marks_can_be_left_out() -> None:
    assert read(["「1+1＝2」、でしょ？"], marks=False) == ["112でしょ"]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Mn", "Mc"]), max_size=30)))
def test_as_pythons_own_normalisation(texts: list[str]) -> None:
    # Half-width voiced marks become combining ones, which Python also joins to letters that are not kana.
    def expected(text: str) -> str:
        each = "".join(unicodedata.normalize("NFKC", c).lower() for c in text)
        left = "".join(
            c
            for c in each
            if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf", "Zs", "Zl", "Zp")
        )
        return unicodedata.normalize("NFC", left)

    plain = [text for text in texts if not {"ﾞ", "ﾟ"} & set(text)]
    assert [unicodedata.normalize("NFC", text) for text in read(plain)] == [
        expected(text) for text in plain
    ]


@settings(deadline=None)  # the first call compiles
@given(st.text(st.sampled_from("かガﾊﾋﾞﾟ\u3099\u309aAé\n 、")), st.text())
def test_lines_joined_are_each_line_joined(some: str, others: str) -> None:
    text = f"{some}\n{others}"
    assert read([text]) == ["".join(read(text.split("\n")))]


def test_a_slice_of_a_column_is_read_from_its_own_beginning() -> None:
    column = pl.Series(["あ", "い", "う", "え"])
    found = compared(column.slice(1, 2))
    assert found.data.tobytes().decode() == "いう"
    assert found.starts.tolist() == [0, 3, 6]
