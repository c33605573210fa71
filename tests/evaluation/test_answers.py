"""Does an answer hold its key fact, and how close is its wording?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.evaluation.answers import character_f1, holds_key_fact, normalise


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        ("本社の始業時刻は８時４５分です。", "8時45分"),
        ("料金は 1,850 円です", "1850円"),
        ("料金は１８５０円", "1,850円"),
        ("担当は「総務 課」。", "総務課"),
        ("ＦＡＸで送ります", "fax"),
        ("ｶﾌｪテリアです", "カフェテリア"),
        ("月曜または火曜です", "水曜|火曜"),
        ("17分ではなく7分です", "7分"),
        ("A7かB7", "7"),
        ("合計は(12)個", "12"),
    ],
)
def test_held(answer: str, fact: str) -> None:
    assert holds_key_fact(answer, fact)


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        ("17分です", "7分"),
        ("１７分です", "7分"),
        ("内線は1205です", "120"),
        ("11,850円", "1,850円"),
        ("水曜です", "火曜|木曜"),
        ("", "火曜"),
        ("何かの答え", ""),
        ("何かの答え", "|"),
        ("。、", "。"),
    ],
)
def test_not_held(answer: str, fact: str) -> None:
    assert not holds_key_fact(answer, fact)


def test_close_wordings_score_between_none_and_all() -> None:
    expected = "本社の始業時刻は8時45分です。"
    assert character_f1("本社の始業時刻は８時４５分です", expected) == 1
    assert character_f1("猫が好き", expected) == 0
    assert 0.4 < character_f1("始業は8時45分です", expected) < 0.9
    assert character_f1("はい", "はい") == character_f1("7", "７") == 1
    assert character_f1("", expected) == character_f1(expected, "") == 0


@given(st.text(max_size=30), st.text(max_size=30))
def test_f1_is_symmetric_and_bounded(a: str, b: str) -> None:
    score = character_f1(a, b)
    assert 0 <= score <= 1
    assert score == pytest.approx(character_f1(b, a))
    if normalise(a) and normalise(a) == normalise(b):
        assert score == 1


@given(st.text(alphabet="あ12、 ", max_size=12), st.text(alphabet="あ12、 ", max_size=12))
def test_an_answer_holds_what_it_was_built_around(before: str, after: str) -> None:
    assert holds_key_fact(f"{before}か要点か{after}", "要点")
