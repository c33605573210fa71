"""Near-duplicates: what is found and what is not, against the true similarity of edited copies."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash
from polars.testing import assert_frame_equal

from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.compared import compared
from kajiya.corpus.document import Document, to_frame
from kajiya.corpus.duplicates import clusters, loops
from kajiya.corpus.duplicates.find import exact_duplicates, near_duplicates
from kajiya.corpus.duplicates.settings import PRESETS, ExactSettings, Keep, NearSettings
from support.edited_texts import edited, jaccard, pairs, random_text, shingles


def frame(texts: list[str], source: str = "web") -> pl.DataFrame:
    return to_frame(
        Document(id=str(i), text=text, group=str(i), source=source) for i, text in enumerate(texts)
    )


def decisions(texts: list[str], settings: NearSettings, folder: Path) -> pl.DataFrame:
    return near_duplicates([frame(texts)], settings, folder).table().collect()


def dropped(table: pl.DataFrame) -> list[str]:
    return table.filter(~pl.col("keep"))["id"].to_list()


@pytest.mark.parametrize("preset", ["kajiya", "llm-jp-v4"])
def test_recall_and_no_false_merges_on_edited_copies(preset: str, tmp_path: Path) -> None:
    made = pairs(1500, random.Random(1))
    texts = [text for pair in made for text in pair[:2]]
    table = decisions(texts, PRESETS[preset], tmp_path)
    found = {
        frozenset(map(int, row)) for row in table.select("id", "duplicate_of").drop_nulls().rows()
    }
    near = [frozenset((2 * i, 2 * i + 1)) for i, pair in enumerate(made) if pair[2] >= 0.8]
    assert len(near) > 200
    recall = np.mean([pair in found for pair in near])
    assert recall >= 0.95, recall
    assert all(jaccard(*(texts[i] for i in pair)) >= 0.5 for pair in found)


def test_recall_at_a_similarity_of_just_080(tmp_path: Path) -> None:
    """The hardest copies that must be found, by the default preset."""
    made = [p for p in pairs(800, random.Random(2), 0.019, 0.024) if 0.8 <= p[2] < 0.82]
    assert len(made) > 150
    table = decisions([t for pair in made for t in pair[:2]], PRESETS["kajiya"], tmp_path)
    assert len(dropped(table)) >= 0.95 * len(made)


def test_documents_that_share_half_are_not_merged(tmp_path: Path) -> None:
    generator = random.Random(3)
    texts = []
    for _ in range(300):
        shared = random_text(400, generator)
        texts += [shared + random_text(210, generator), shared + random_text(210, generator)]
    similarities = [jaccard(a, b) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    assert 0.45 < min(similarities) <= max(similarities) < 0.5
    assert decisions(texts, NearSettings(), tmp_path).is_empty()


def test_short_documents_compare_by_themselves(tmp_path: Path) -> None:
    texts = ["", "", "猫", "犬", "猫", "四文字だ", "四文字よ", "はい。", "ﾊｲ。", "   "]
    first = NearSettings(keep=Keep(policy="first"))
    assert dropped(decisions(texts, first, tmp_path)) == ["4"]
    table = decisions([*texts, "はい 。"], first, tmp_path)
    assert dropped(table) == ["4", "10"]


@pytest.mark.parametrize("length", [60, 400, 3000])
def test_signatures_estimate_the_true_similarity_as_well_as_datasketch(length: int) -> None:
    generator = random.Random(length)
    ours, theirs = [], []
    for _ in range(60):
        text = random_text(length, generator)
        copy = edited(text, generator.randrange(1, length // 12), generator)
        read = compared(pl.Series([text, copy]))
        signatures, _ = loops.sketch(read.data, read.starts, 5, 32, 8)
        sketches = []
        for one in (text, copy):
            sketches.append(MinHash(num_perm=256))
            sketches[-1].update_batch([shingle.encode() for shingle in shingles(one)])
        true = jaccard(text, copy)
        ours.append((signatures[0] == signatures[1]).mean() - true)
        theirs.append(sketches[0].jaccard(sketches[1]) - true)
    assert abs(np.mean(ours)) < 0.012  # 256 places, 60 pairs: a standard error of 0.004
    assert np.std(ours) < 1.3 * np.std(theirs)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batches_make_no_difference(size: int, tmp_path: Path) -> None:
    generator = random.Random(4)
    texts = [text for pair in pairs(100, generator) for text in pair[:2]] + ["", "短い", "短い"]
    generator.shuffle(texts)
    whole = frame(texts)

    def batches() -> Iterator[pl.DataFrame]:
        yield from whole.iter_slices(size)

    settings = NearSettings(keep=Keep(rehydrate=3))
    one = near_duplicates([whole], settings, tmp_path / "one").table().collect()
    several = near_duplicates(batches(), settings, tmp_path / "several").table().collect()
    assert_frame_equal(one, several)
    assert len(dropped(one)) > 10


def test_parts_of_the_work_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = random.Random(5)
    base = random_text(300, generator)
    texts = [edited(base, generator.randrange(12), generator) for _ in range(200)]
    whole = decisions(texts, NearSettings(), tmp_path / "whole")
    monkeypatch.setattr(clusters, "_AT_ONCE", 7)
    assert_frame_equal(decisions(texts, NearSettings(), tmp_path / "parts"), whole)


def test_what_is_dropped_resembles_what_it_is_dropped_for(tmp_path: Path) -> None:
    """A chain a-b-c in which a and c have little in common."""
    generator = random.Random(6)
    text = random_text(1000, generator)
    chain = [text[i * 75 : i * 75 + 600] for i in range(5)]
    table = decisions(chain, NearSettings(keep=Keep(policy="first")), tmp_path)
    assert table["cluster"].n_unique() == 1
    for row in table.filter(~pl.col("keep")).iter_rows(named=True):
        true = jaccard(chain[int(row["id"])], chain[int(row["duplicate_of"])])
        assert true > 0.6
        assert abs(row["similarity"] - true) < 0.12
    kept = table.filter("keep")["id"].to_list()
    assert kept[0] == "0"
    assert len(kept) > 1


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (Keep(), ["3"]),
        (Keep(policy="first"), ["0"]),
        (Keep(policy="best", column="stat.quality"), ["1"]),
        (Keep(sources=("books", "news")), ["2"]),
        (Keep(rehydrate=2), ["0", "2", "3"]),
        (Keep(rehydrate=3), ["2", "3"]),
        (Keep(rehydrate=5), ["3"]),
    ],
)
def test_which_copy_stays(keep: Keep, kept: list[str], tmp_path: Path) -> None:
    text = random_text(500, random.Random(7))
    texts = [text, text[:490], text + "あ", text + "あい"]
    whole = frame(texts).with_columns(
        pl.Series("source", ["web", "web", "books", "news"]),
        pl.Series("stat.quality", [0.1, 0.9, None, float("nan")]),
    )
    if keep.rehydrate:
        whole = whole.with_columns(pl.Series("source", ["web"] * 4))
    found = near_duplicates([whole], NearSettings(keep=keep), tmp_path)
    marked = found.apply(whole)
    assert marked.filter(pl.col("reason").is_null())["id"].to_list() == kept
    assert found.summary() == {"documents": 4, "clusters": 1, "dropped": 4 - len(kept)}


def test_marking_a_batch_keeps_order_columns_and_earlier_reasons(tmp_path: Path) -> None:
    text = random_text(300, random.Random(8))
    whole = frame([text, text, text, "別の文書です。"]).with_columns(
        pl.Series("reason", [None, None, "short", None], pl.String), pl.lit(1).alias("stat.x")
    )
    found = near_duplicates([whole], NearSettings(keep=Keep(policy="first")), tmp_path)
    marked = found.apply(whole.reverse()).reverse()
    assert marked["reason"].to_list() == [None, "near-duplicate", "short", None]
    assert_frame_equal(marked.drop("reason"), whole.drop("reason"))


def test_the_same_id_in_two_sources_is_two_documents(tmp_path: Path) -> None:
    text = random_text(300, random.Random(9))
    parts = [frame([text], "a"), frame([text], "b")]
    found = near_duplicates(parts, NearSettings(keep=Keep(sources=("b",))), tmp_path)
    assert found.table().collect().select("source", "keep", "duplicate_source").rows() == [
        ("a", False, "b"),
        ("b", True, None),
    ]


def test_two_documents_of_one_name_are_refused(tmp_path: Path) -> None:
    parts = [frame(["一つ目の文書"]), frame(["二つ目の文書"])]
    with pytest.raises(DataError, match="'0'"):
        near_duplicates(parts, NearSettings(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    settings = NearSettings(keep=Keep(policy="best", column="stat.quality"))
    with pytest.raises(ConfigError, match=r"stat\.quality"):
        near_duplicates([frame(["文書"])], settings, tmp_path)


@pytest.mark.parametrize(
    "values",
    [{"policy": "best"}, {"column": "stat.x"}, {"rehydrate": 1}, {"rehydrate": -1}, {"sort": 1}],
)
def test_keep_policies_that_say_nothing_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Keep.checked(values)


def test_a_corpus_without_documents(tmp_path: Path) -> None:
    found = near_duplicates([], NearSettings(), tmp_path)
    assert found.summary() == {"documents": 0, "clusters": 0, "dropped": 0}
    assert found.apply(frame([]))["reason"].to_list() == []


def test_exact_duplicates(tmp_path: Path) -> None:
    texts = ["ＡＢＣ です。", "abcです。", "abcです", "", "", "同じ", "同じ"]
    found = exact_duplicates([frame(texts)], ExactSettings(keep=Keep(policy="first")), tmp_path)
    table = found.table().collect()
    assert table.select("id", "keep", "duplicate_of", "similarity").rows() == [
        ("0", True, None, None),
        ("1", False, "0", 1.0),
        ("5", True, None, None),
        ("6", False, "5", 1.0),
    ]
    assert found.apply(frame(texts))["reason"].drop_nulls().unique().to_list() == [
        "exact-duplicate"
    ]
