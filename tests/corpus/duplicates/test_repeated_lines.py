"""Lines and paragraphs that many documents hold."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.document import Document, to_frame
from kajiya.corpus.duplicates.lines import LineSettings, repeated_lines

FOOTER = "Copyright 架空商店 All rights reserved."


def frame(texts: list[str]) -> pl.DataFrame:
    return to_frame(Document(id=str(i), text=text, group=str(i)) for i, text in enumerate(texts))


def cleaned(texts: list[str], folder: Path, **settings: Any) -> pl.DataFrame:
    whole = frame(texts)
    return repeated_lines([whole], LineSettings(**settings), folder).apply(whole)


def test_a_footer_goes_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    texts = [f"記事 {i}\n  字下げした本文\n\n{FOOTER}" for i in range(3)] + ["はい\nはい"]
    found = cleaned(texts, tmp_path, documents=3)
    assert found["text"].to_list() == [
        *(f"記事 {i}\n  字下げした本文\n" for i in range(3)),
        "はい\nはい",
    ]
    assert found["repeated.lines"].to_list() == [1, 1, 1, 0]
    assert found["reason"].null_count() == 4


def test_what_one_document_repeats_is_not_counted_twice(tmp_path: Path) -> None:
    texts = [f"{FOOTER}\n{FOOTER}\n本文", f"{FOOTER}\n本文"]
    assert cleaned(texts, tmp_path, documents=3)["text"].to_list() == texts
    assert cleaned(texts, tmp_path, documents=2)["text"].to_list() == ["本文", "本文"]


def test_a_document_of_nothing_else_keeps_its_text_and_gets_the_reason(tmp_path: Path) -> None:
    texts = [FOOTER, f" {FOOTER.upper()} \n", f"本文\n{FOOTER}"]
    found = cleaned(texts, tmp_path, documents=2)
    assert found["text"].to_list() == [*texts[:2], "本文"]
    assert found["reason"].to_list() == ["repeated-lines", "repeated-lines", None]


def test_paragraphs(tmp_path: Path) -> None:
    notice = "この記事は\n架空のものです。"
    texts = [f"一つ目\n\n{notice}\n\n終わり", f"{notice}\n\n二つ目", "この記事は\n別のものです。"]
    found = cleaned(texts, tmp_path, documents=2, unit="paragraph")
    assert found["text"].to_list() == ["一つ目\n\n終わり", "二つ目", texts[2]]


@pytest.mark.parametrize("size", [1, 2])
def test_batches_make_no_difference_to_lines(size: int, tmp_path: Path) -> None:
    texts = [f"{FOOTER}\n本文 {i % 3} であります\n末尾" for i in range(7)]
    whole = frame(texts)
    settings = LineSettings(documents=2)
    one = repeated_lines([whole], settings, tmp_path)
    several = repeated_lines(whole.iter_slices(size), settings, tmp_path)
    assert one.frequent.tolist() == several.frequent.tolist()
    assert sorted(one.counts.tolist()) == [2, 2, 3, 7]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.lists(st.sampled_from(["あ", "いい", "ううう", ""]), min_size=1), min_size=1))
def test_as_a_literal_count(documents: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = cleaned(
            ["\n".join(lines) for lines in documents], Path(folder), documents=2, shortest=2
        )
    held = {line: sum(line in lines for lines in documents) for line in ("いい", "ううう")}
    frequent = {line for line, count in held.items() if count >= 2}
    for lines, text, lost in zip(documents, found["text"], found["repeated.lines"], strict=True):
        left = [line for line in lines if line not in frequent]
        assert lost == len(lines) - len(left)
        expected = left if not lost or "".join(left) else lines
        assert text == "\n".join(expected)
