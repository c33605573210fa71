"""Lists of terms, and what is refused in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import DataError, NotFoundError
from kajiya.tokenizer.terms import check_terms, read_terms


def test_a_term_a_line(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("﻿鍛冶屋\n\n  GPU メモリ \n強化学習\t説明\n鍛冶屋\n", encoding="utf-8")
    assert read_terms(path) == ["鍛冶屋", "GPU メモリ", "強化学習"]


@pytest.mark.parametrize("term", ["", " ", "あ" * 65, "a\nb", "終わり。次", "\x00", "▁a", "\ud800"])
def test_what_cannot_be_a_token(term: str) -> None:
    with pytest.raises(DataError):
        check_terms(["可", term])


def test_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("鍛冶屋\n終わり。次\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"terms\.txt:2"):
        read_terms(path)
    path.write_bytes("鍛冶屋".encode("cp932"))
    with pytest.raises(DataError, match="UTF-8"):
        read_terms(path)
    with pytest.raises(NotFoundError):
        read_terms(tmp_path / "none.txt")
