"""Columns of strings as code points and back."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.texts import Texts

ANY = st.lists(st.text(max_size=30), max_size=12)


@settings(deadline=None)  # the first call compiles
@given(ANY)
def test_points_are_those_of_python(values: list[str]) -> None:
    texts = Texts.read(pl.Series(values, dtype=pl.String))
    assert len(texts) == len(values)
    assert texts.lengths.tolist() == [len(value) for value in values]
    assert texts.points.tolist() == [ord(c) for value in values for c in value]


@settings(deadline=None)  # the first call compiles
@given(ANY, st.integers(0, 5), st.integers(0, 5))
def test_there_and_back_also_for_parts_of_a_column(
    values: list[str], first: int, length: int
) -> None:
    column = pl.Series("t", values, dtype=pl.String).slice(first, length)
    column = column.append(pl.Series("t", values, dtype=pl.String))
    assert Texts.read(column).column("t").to_list() == column.to_list()


def test_a_null_is_an_empty_text() -> None:
    texts = Texts.read(pl.Series(["あ", None, "x"]))
    assert texts.column("t").to_list() == ["あ", "", "x"]


def test_keeping_some_characters() -> None:
    texts = Texts.read(pl.Series(["あiう", "", "x😀"]))
    kept = np.array([True, False, True, False, True])
    assert texts.keep(kept).column("t").to_list() == ["あう", "", "😀"]
