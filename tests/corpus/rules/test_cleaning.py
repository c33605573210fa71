"""Texts made ready: one form for what is the same, no footers, and every character's place in the original."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.rules.preset import Preset
from kajiya.corpus.rules.settings import PresetSettings

KANA = "".join(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30FB)]))
HALF = "".join(map(chr, range(0xFF61, 0xFFA0)))
FULL = "".join(map(chr, [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]))
MARKS = "\u3099\u309a"
ODD = "漢é😀\U00020b9f\u200d，．。、！? \u3000\t\n\r\x00\x0b\u2028\u00ad\ufeff"


def preset(**cleaning: object) -> Preset:
    chosen = PresetSettings.checked({"cleaning": cleaning})
    return Preset("own", chosen, Path("own.yaml"))


WIDTH = preset(width=True)
FORMS = preset(width=True, punctuation=True)
EVERYTHING = preset(
    width=True, punctuation=True, ascii_run=5, lines_without_kana=True, footer_lines=3
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ｶﾞｷﾞﾊﾟｳﾞｱﾞ", "ガギパヴア\u3099"),
        ("か\u3099は\u309aか", "がぱか"),
        ("ＡＢＣ１２３ｚ", "ABC123z"),
        ("｢ﾃｽﾄ｣､｡･ｰ", "「テスト」、。・ー"),
        ("姓\u3000名\u00a0x", "姓 名 x"),
        ("そう，そして．", "そう、そして。"),
        ("１，０００円、3．14、あ，1", "1,000円、3.14、あ、1"),
        ("！？（）〜①㈱", "！？（）〜①㈱"),
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("\ufeffゼロ\u200b幅\u00ad\x00と\u202e制御", "ゼロ幅と制御"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("", ""),
    ],
)
def test_one_form(before: str, after: str) -> None:
    assert FORMS.clean(before)[0] == after


def test_nothing_is_changed_that_is_not_asked_for() -> None:
    text = "ｶﾞＡ，\u3000か\u3099\r\n\x00"
    assert preset(control=False).clean(text)[0] == text


@settings(deadline=None)
@given(st.text(st.sampled_from(KANA + HALF + FULL + MARKS + "漢字"), max_size=40))
def test_width_is_nfkc_for_kana_letters_and_digits(text: str) -> None:
    assert WIDTH.clean(text)[0] == unicodedata.normalize("NFKC", text)


@settings(deadline=None)
@given(st.text(st.sampled_from(HALF + MARKS + ODD + "かハabc12利用規約"), max_size=60))
def test_every_character_that_is_left_has_its_place(text: str) -> None:
    found, offsets = EVERYTHING.clean(text)
    assert len(offsets) == len(found)
    ends = 0
    for i, character in enumerate(found):
        start, end = offsets.span(i, i + 1)
        assert ends <= start < end <= len(text)
        ends = end
        alone, _ = FORMS.clean(text[start:end])
        assert character in (alone, "，", "．", ",", ".")  # these need their neighbours


@settings(deadline=None)
@given(st.text(max_size=60))
def test_what_was_cleaned_stays_as_it_is(text: str) -> None:
    found, _ = WIDTH.clean(text)
    assert WIDTH.clean(found)[0] == found


def test_footer_lines_go_and_only_those() -> None:
    body = "本文の一行目です。\n利用規約\n二行目です。\n三行目。\n"
    links = "ホーム | 利用規約 | お問い合わせ\n"
    footer = "\n続きます。\nCopyright 2024 Example Inc.\n"
    found, offsets = preset(footer_lines=3).clean(body + links + footer)
    assert found == body + "\n続きます。\n"
    first = len(body + links)
    assert offsets.span(len(body), len(found)) == (first, first + len("\n続きます。\n"))


def test_a_footer_does_not_reach_into_the_next_document() -> None:
    texts = ["本文。\n利用規約", "\n次の文書。"]
    frame = pl.DataFrame({"text": texts, "url": ["", ""]})
    assert preset(footer_lines=3).apply(frame)["text"].to_list() == ["本文。\n", "\n次の文書。"]


def test_lines_without_kana_and_long_runs_of_ascii() -> None:
    text = "abc\n漢字\n\nかな abcdef ok\nabcdefかな\n"
    found, _ = preset(lines_without_kana=True, ascii_run=6).clean(text)
    assert found == "\nかな\nかな\n"
