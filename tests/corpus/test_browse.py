"""Looking through a corpus: filters, pages, one document, and all of it as JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from kajiya.core.errors import NotFoundError
from kajiya.corpus import layout
from kajiya.corpus.browse import Query, Side, export, find_document, look_through
from support.recipes import follow, make_sources


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browse")
    return follow(make_sources(folder / "sources"), folder / "run")


@pytest.fixture(scope="module")
def tables(corpus: Path) -> dict[Side, pl.DataFrame]:
    return {
        "kept": pl.concat(layout.iterate(corpus / layout.DOCUMENTS), how="diagonal"),
        "dropped": pl.concat(layout.iterate(corpus / layout.DROPPED), how="diagonal"),
    }


@pytest.mark.parametrize("side", ["kept", "dropped"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pages_have_every_document_once(
    corpus: Path, tables: dict[Side, pl.DataFrame], side: Side, size: int
) -> None:
    ids: list[str] = []
    first = look_through(corpus, side, Query(), 1, size)
    for page in range(1, first.pages + 1):
        ids += [row["id"] for row in look_through(corpus, side, Query(), page, size).rows]
    assert ids == tables[side]["id"].to_list()
    assert first.total == len(ids)


def test_a_page_that_is_not_there_is_the_nearest(corpus: Path) -> None:
    assert look_through(corpus, "kept", Query(), 10**9).page > 1
    assert look_through(corpus, "kept", Query(), -3).page == 1


def test_filters(corpus: Path, tables: dict[Side, pl.DataFrame]) -> None:
    kept, dropped = tables["kept"], tables["dropped"]
    found = look_through(corpus, "kept", Query(source="books"), size=1000)
    assert {row["source"] for row in found.rows} == {"books"}
    assert found.total == (kept["source"] == "books").sum()
    short = look_through(corpus, "dropped", Query(reason="length"), size=1000)
    assert short.total == (dropped["reason"] == "length").sum() > 0
    assert all(row["stage"] == "rules" and row["value"] < 40 for row in short.rows)
    twice = look_through(corpus, "dropped", Query(stage="exact"), size=1000)
    assert twice.total > 0
    assert {row["value"] for row in twice.rows} == {None}
    # Of the kept there is no reason to ask for.
    assert look_through(corpus, "kept", Query(reason="length")).total == len(kept)


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("w5", ["w5", *(f"w5{n}" for n in range(10))]),
        ("/1/4", ["w4", "w40", "w43", "w46", "w49"]),
        ("記事 12", ["w12"]),
        ("HTTPS://EXAMPLE.COM/0/3", ["w3", "w30", "w33", "w36", "w39"]),
        (".*", []),
        ("nowhere", []),
    ],
)
def test_words_are_looked_for_in_id_url_and_title(corpus: Path, words: str, ids: list[str]) -> None:
    sides: tuple[Side, ...] = ("kept", "dropped")
    found = [look_through(corpus, side, Query(words=words), size=1000).rows for side in sides]
    assert sorted(row["id"] for rows in found for row in rows) == sorted(ids)


def test_what_is_shown_is_short_and_masked(corpus: Path) -> None:
    rows = look_through(corpus, "kept", Query(words="w18"), size=5).rows
    assert "[PHONE]" in rows[0]["text"]
    assert all(len(row["text"]) <= 700 for row in rows)


def test_one_document_with_its_statistics(corpus: Path) -> None:
    found = find_document(corpus, "dropped", "web", "w7")
    assert found["text"] == "短い。\n"
    assert found["reason"] == "length"
    assert found["statistics"]["length"] == found["value"]
    with pytest.raises(NotFoundError):
        find_document(corpus, "kept", "web", "w7")
    with pytest.raises(NotFoundError):
        find_document(corpus, "dropped", "books", "w7")


def test_everything_goes_out_as_lines(corpus: Path, tables: dict[Side, pl.DataFrame]) -> None:
    lines = "".join(export(corpus, "kept")).splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["text"] for row in rows] == tables["kept"]["text"].to_list()
    assert all(row["licence"] for row in rows)
