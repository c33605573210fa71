"""The compiled rules of `swallow-v1` against the slow reference, on any text and on real ones."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.document import Document, to_frame
from kajiya.corpus.rules.preset import load_preset
from kajiya.corpus.sources.aozora import AozoraSource, read_aozora
from support import swallow_rules as reference

SHARED = Path(__file__).parents[4] / "shared/data"
PRESET = load_preset("swallow-v1")
TOKENS = [
    *"あいカキーｱ漢字々。．！？!?、，…・‥.｡ \u3000\t12３AzＺé",
    "\n",
    "\n\n",
    "\r\n",
    "\u2028",
    "\ufeff",
    "\u200d",
    "\U00020b9f",
    "😀",
    "한",
    "１，０００",
    "...",
    "利用規約",
    "お問い合わせ",
    "Copyright",
    "copyrights",
    "エロ",
    "アダルトビデオ",
    "ババア",
    "日本語の文章はこのように続いていくものです。",
    "次の行は前の行と同じではありません！\n",
    "今日は雨が降っていたので、家で本を読んでいた。\n",
]


def frame_of(texts: list[str]) -> pl.DataFrame:
    return to_frame(Document(str(i), text, str(i)) for i, text in enumerate(texts))


def compare(texts: list[str]) -> None:
    """Every statistic and decision of the preset is the reference's."""
    found = PRESET.apply(frame_of(texts))
    for text, row in zip(texts, found.iter_rows(named=True), strict=True):
        cleaned = reference.clean(text)
        assert row["text"] == cleaned
        expected = reference.statistics(cleaned)
        for name, value in expected.items():
            assert row[f"stat.{name}"] == pytest.approx(value, abs=1e-12), (name, text)
        assert (row["reason"] is None) == reference.is_kept(expected), text


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(TOKENS), max_size=80).map("".join), max_size=6))
def test_statistics_of_arrangements_of_japanese(texts: list[str]) -> None:
    compare(texts)


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_statistics_of_any_text(texts: list[str]) -> None:
    compare(texts)


def synthetic(seed: int, documents: int) -> list[str]:
    """Pages near the thresholds: prose that is repeated, cut, mixed and littered by chance."""
    rng = random.Random(seed)
    words = [
        "私",
        "東京",
        "雨",
        "本",
        "学校",
        "データ",
        "会議",
        "料理",
        "猫",
        "電車",
        "夏",
        "机",
        "音楽",
        "旅",
        "町",
        "カメラ",
        "窓",
        "朝",
    ]
    verbs = [
        "を見ていた",
        "が好きだと言った",
        "について考える",
        "に行くことにした",
        "は静かであった",
    ]
    litter = [
        "エロ",
        "死ね",
        "利用規約",
        "click",
        "送料無料",
        "★★★",
        "…",
        "アアアア",
        "１２３",
        "abc",
        "！！",
        "続きを読む",
    ]
    texts = []
    for _ in range(documents):
        variety = rng.choice([1, 3, 30, 3000])
        dirt = rng.choice([0, 0, 0.05, 0.3])
        sentences = [
            "、".join(
                f"{rng.choice(words)}{rng.randrange(variety)}{rng.choice(verbs)}"
                for _ in range(rng.choice([2, 2, 3, 4]) if rng.random() < 0.998 else 20)
            )
            + rng.choice(["。"] * 7 + ["……\n", "！"])
            for _ in range(rng.randrange(8, 60))
        ]
        pieces = [rng.choice(litter) if rng.random() < dirt else sentence for sentence in sentences]
        text = "".join(piece + rng.choice(["", "\n", "\n\n"]) for piece in pieces)
        texts.append(text * rng.choice([1, 1, 1, 2]))
    return texts


def test_decisions_on_synthetic_pages() -> None:
    texts = synthetic(7, 100)
    compare(texts)
    reasons = PRESET.apply(frame_of(texts))["reason"]
    assert reasons.null_count() > 5  # both decisions are tried
    assert reasons.n_unique() > 5


@pytest.mark.skipif(not SHARED.exists(), reason="shared data is not here")
def test_decisions_on_wikipedia() -> None:
    with (SHARED / "wikipedia-ja/leads.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in islice(file, 0, 3000, 10)]
    compare(texts)


@pytest.mark.skipif(not SHARED.exists(), reason="shared data is not here")
def test_decisions_on_aozora() -> None:
    works = islice(
        read_aozora(AozoraSource(path=str(SHARED / "aozora/aozora-public-domain.tar.xz"))), 25
    )
    texts = [work.text[start : start + 1500] for work in works for start in (0, 1500)]
    compare(texts)
    assert PRESET.apply(frame_of(texts))["reason"].null_count() > 10
