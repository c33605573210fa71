"""Finders of personal data, and what is done with what they find."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kajiya.corpus.document import Document, to_frame
from kajiya.corpus.personal.find import find_personal
from kajiya.corpus.personal.finding import KINDS
from kajiya.corpus.personal.mask import PersonalSettings, mask_frame
from kajiya.corpus.personal.numbers import is_my_number, luhn

FULL = str.maketrans("0123456789-", "０１２３４５６７８９－")


def found(text: str) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in find_personal(text)]


def frame(texts: list[str]) -> pl.DataFrame:
    return to_frame(Document(id=str(i), text=text, group=str(i)) for i, text in enumerate(texts))


@given(
    st.integers(0, 99_999_999),
    st.sampled_from(["070", "080", "090"]),
    st.sampled_from(["-", "", " ", "‐", "ー", "－"]),
    st.booleans(),
)
def test_every_mobile_number_is_found(number: int, prefix: str, between: str, full: bool) -> None:
    digits = f"{number:08}"
    written = f"{prefix}{between}{digits[:4]}{between}{digits[4:]}"
    written = written.translate(FULL) if full and between != "ー" else written
    assert found(f"電話は{written}です") == [("phone", written)]


@given(st.integers(0, 10**11 - 1))
def test_one_check_digit_makes_a_my_number(number: int) -> None:
    fitting = [d for d in range(10) if is_my_number(f"{number:011}{d}")]
    assert len(fitting) == 1
    written = f"{number:011}{fitting[0]}"
    assert found(f"個人番号は{written}") == [("my_number", written)]
    wrong = f"{number:011}{(fitting[0] + 1) % 10}"
    assert ("my_number", wrong) not in found(f"個人番号は{wrong}")


def test_the_published_example_of_a_check_digit() -> None:
    assert is_my_number("123456789018")


@given(st.integers(0, 10**14 - 1), st.sampled_from(["", " ", "-"]))
def test_one_check_digit_makes_a_card(number: int, between: str) -> None:
    fitting = [d for d in range(10) if luhn(f"4{number:014}{d}")]
    assert len(fitting) == 1
    digits = f"4{number:014}{fitting[0]}"
    written = between.join(digits[i : i + 4] for i in range(0, 16, 4))
    assert found(f"カード: {written}") == [("card", written)]


@given(st.text(max_size=80))
def test_findings_of_any_text_are_in_order_and_apart(text: str) -> None:
    findings = find_personal(text)
    ends = [0]
    for finding in findings:
        assert finding.kind in KINDS
        assert ends[-1] <= finding.start < finding.end <= len(text)
        ends.append(finding.end)


@given(
    st.lists(
        st.sampled_from(
            [
                "090-1234-5678",
                "a@example.jp",
                "山田さん",
                "〒100-0001",
                "東京都",
                "港区",
                "1-2-3",
                "、",
                " ",
                "\n",
                "0",
                "12",
                "-",
                "（",
                "４５６７",
                "番号",
                "普通",
                "丁目",
                "君",
            ]
        ),
        max_size=25,
    )
)
def test_masking_leaves_all_other_text(parts: list[str]) -> None:
    text = "".join(parts)
    masked = mask_frame(frame([text]), PersonalSettings(name="mask")).row(0, named=True)
    rest = masked["text"]
    kept, at = "", 0
    for finding in find_personal(text):
        kept += text[at : finding.start] + f"[{finding.kind.upper()}]"
        at = finding.end
    assert rest == kept + text[at:]
    assert sum(masked[f"personal.{kind}"] for kind in KINDS) == len(find_personal(text))


def test_long_runs_of_digits_and_marks_take_no_time() -> None:
    for text in ("0-" * 50_000, "1" * 100_000, "a." * 50_000, "東京都" * 30_000, "(0" * 50_000):
        find_personal(text)


def test_masks_counts_and_drops() -> None:
    texts = [
        "電話は090-1234-5678、メールはtaro@example.jpです。",
        "マイナンバーは123456789018です。電話は090-1234-5678。",
        "何もありません。",
    ]
    settings = PersonalSettings(my_number="drop", email="keep")
    marked = mask_frame(frame(texts), settings)
    assert marked["text"].to_list() == [
        "電話は[PHONE]、メールはtaro@example.jpです。",
        texts[1],
        texts[2],
    ]
    assert marked["reason"].to_list() == [None, "personal", None]
    assert marked["personal.phone"].to_list() == [1, 1, 0]
    assert marked["personal.email"].to_list() == [1, 0, 0]
    assert marked["personal.card"].to_list() == [0, 0, 0]


def test_an_earlier_reason_stays() -> None:
    whole = frame(["電話は090-1234-5678"]).with_columns(pl.lit("short").alias("reason"))
    assert mask_frame(whole, PersonalSettings(phone="drop"))["reason"].to_list() == ["short"]


def test_no_documents() -> None:
    marked = mask_frame(frame([]), PersonalSettings())
    assert {f"personal.{kind}" for kind in KINDS} < set(marked.columns)


@pytest.mark.parametrize("size", [1, 2])
def test_masking_does_not_depend_on_batches(size: int) -> None:
    whole = frame(["電話は090-1234-5678", "山田さん", "〒100-0001", "a@example.jp", ""])
    one = mask_frame(whole, PersonalSettings())
    parts = [mask_frame(part, PersonalSettings()) for part in whole.iter_slices(size)]
    assert_frame_equal(one, pl.concat(parts))
