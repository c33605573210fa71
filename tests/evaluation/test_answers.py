"""Scores of a single answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.evaluation.answers import character_f1, holds_key_fact, normalise


@pytest.mark.parametrize(
    ("answer", "fact", "held"),
    [
        ("画面ロックは7分でかかります。", "7分", True),
        ("画面ロックは17分でかかります。", "7分", False),
        ("画面ロックは17分か7分でかかります。", "7分", True),
        ("日当は１，８５０円です。", "1,850円", True),
        ("日当は 1850 円です。", "1,850円", True),
        ("日当は11,850円です。", "1,850円", False),
        ("内線は4127です。", "内線4127", False),
        ("内線41275へどうぞ。", "内線4127", False),
        ("予約は「マドカ」から行います。", "マドカ", True),
        ("予約はﾏﾄﾞｶから行います。", "マドカ", True),
        ("様式はk-14です。", "K-14", True),
        ("北棟か南棟です。", "南棟|西棟", True),
        ("北棟です。", "南棟|西棟", False),
        ("何も知りません。", "", False),
        ("", "マドカ", False),
    ],
)
def test_a_key_fact_is_found_whatever_its_width_and_only_as_a_whole_number(
    answer: str, fact: str, held: bool
) -> None:
    assert holds_key_fact(answer, fact) is held


@given(st.text(alphabet="あいう漢字abc、。 ", min_size=1).filter(normalise))
def test_an_answer_is_its_own_best_match(text: str) -> None:
    assert character_f1(text, text) == 1.0
    assert holds_key_fact(text, text)


@given(st.text(max_size=30), st.text(max_size=30))
def test_similarity_is_symmetric_and_between_0_and_1(a: str, b: str) -> None:
    assert 0.0 <= character_f1(a, b) <= 1.0
    assert character_f1(a, b) == pytest.approx(character_f1(b, a))


def test_similarity_falls_with_the_number_of_other_characters() -> None:
    wanted = "会議室の予約は、社内ポータルの「マドカ」から行います。"
    near = "会議室の予約は社内ポータルのマドカで行います"
    far = "出退勤の打刻には「ヒバリ」を使います。"
    assert 1 > character_f1(near, wanted) > 0.8 > 0.2 > character_f1(far, wanted) >= 0
