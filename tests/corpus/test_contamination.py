"""Evaluation items in a corpus: found whatever the marks and width, reported, removed."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kajiya.core.errors import DataError
from kajiya.corpus.contamination import (
    Contamination,
    ContaminationSettings,
    EvaluationItem,
    ItemFile,
    read_items,
)
from kajiya.corpus.document import Document, to_frame
from kajiya.data.problems import at_line
from support.edited_texts import ALPHABET, random_text

QUESTION = "電子機器で使用される最も主要な電子回路基板の事をなんと言う？"
ITEMS = [
    EvaluationItem("commonsense", "7", QUESTION),
    EvaluationItem("math", "1", "りんごを3個、みかんを5個買いました。\n果物は全部で何個ですか。"),
    EvaluationItem("short", "1", "日本の首都は東京ですか"),
    EvaluationItem("short", "2", "はい"),
]


def frame(texts: list[str]) -> pl.DataFrame:
    return to_frame(Document(id=str(i), text=text, group=str(i)) for i, text in enumerate(texts))


def test_items_are_found_and_named() -> None:
    texts = [
        "何も関係のない文書です。電子機器の話をしよう。",
        f"問題です。「{QUESTION}」答えはマザーボード。",
        "りんごを３個 みかんを５個買いました 果物は全部で、何個ですか",
        f"{QUESTION}{ITEMS[1].text}日本の首都は、東京ですか？",
        "はい",
    ]
    found = Contamination(ITEMS, ContaminationSettings()).apply(frame(texts))
    assert found["contamination.items"].to_list() == [
        [],
        ["commonsense:7"],
        ["math:1"],
        ["commonsense:7", "math:1", "short:1"],
        [],
    ]
    assert found["contamination.share"].to_list() == [0, 1, 1, 1, 0]
    assert found["reason"].to_list() == [None, *["contamination"] * 3, None]
    assert_frame_equal(found.select(frame([]).columns), frame(texts))


def test_items_that_are_too_short_are_told() -> None:
    assert Contamination(ITEMS, ContaminationSettings()).too_short == [ITEMS[3]]


def test_a_part_of_an_item_counts_by_its_share() -> None:
    item = EvaluationItem("t", "1", random_text(119, random.Random(0)))  # 100 runs of 20
    document = frame([item.text[:99]])  # 80 of them
    for share, expected in ((0.8, ["contamination"]), (0.81, [None])):
        settings = ContaminationSettings(share=share)
        assert Contamination([item], settings).apply(document)["reason"].to_list() == expected


def test_passages() -> None:
    texts = [f"一行目\n問：{QUESTION}\n三行目", f"{ITEMS[1].text}\n次の行", QUESTION, "無関係"]
    settings = ContaminationSettings(remove="passage")
    found = Contamination(ITEMS, settings).apply(frame(texts))
    assert found["text"].to_list() == ["一行目\n三行目", "次の行", QUESTION, "無関係"]
    assert found["reason"].to_list() == [None, None, "contamination", None]


@settings(deadline=None)  # the first call compiles
@given(st.data())
def test_as_a_literal_search(data: st.DataObject) -> None:
    letters = st.text(st.sampled_from(ALPHABET[:6]), max_size=25)
    items = [
        EvaluationItem("t", str(i), text)
        for i, text in enumerate(data.draw(st.lists(letters, min_size=1, max_size=4)))
    ]
    texts = data.draw(st.lists(st.text(st.sampled_from(ALPHABET[:6]), max_size=60), max_size=4))
    settings = ContaminationSettings(ngram=6, shortest=4, share=0.5)

    def held(text: str, item: str) -> bool:
        width = min(len(item), 6)
        runs = {item[i : i + width] for i in range(len(item) - width + 1)}
        return len(item) >= 4 and sum(run in text for run in runs) >= 0.5 * len(runs)

    found = Contamination(items, settings).apply(frame(texts))
    assert found["contamination.items"].to_list() == [
        [f"t:{item.id}" for item in items if held(text, item.text)] for text in texts
    ]


def test_no_items_no_documents_and_earlier_reasons() -> None:
    nothing = Contamination([], ContaminationSettings())
    assert nothing.apply(frame([QUESTION]))["reason"].to_list() == [None]
    some = Contamination(ITEMS, ContaminationSettings())
    assert some.apply(frame([]))["contamination.items"].to_list() == []
    early = frame([QUESTION]).with_columns(pl.lit("short").alias("reason"))
    assert some.apply(early)["reason"].to_list() == ["short"]


def test_items_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "quiz.jsonl"
    path.write_text(
        '{"text": "問一"}\n\n{"task": "t", "id": 5, "text": "問二"}\n', encoding="utf-8"
    )
    assert list(read_items(ItemFile(path=str(path)))) == [
        EvaluationItem("quiz", "1", "問一"),
        EvaluationItem("t", "5", "問二"),
    ]


def test_questions_of_a_packed_file_in_another_field(tmp_path: Path) -> None:
    path = tmp_path / "question.jsonl.gz"
    path.write_bytes(gzip.compress('{"turns": ["問一", "問二"]}\n{"turns": ["問三"]}'.encode()))
    assert list(read_items(ItemFile(path=str(path), text="turns", task="bench"))) == [
        EvaluationItem("bench", "1", "問一"),
        EvaluationItem("bench", "1", "問二"),
        EvaluationItem("bench", "2", "問三"),
    ]


@pytest.mark.parametrize("line", ["{", "[]", '{"question": "x"}', '{"text": [1]}', "3"])
def test_what_is_no_item_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "quiz.jsonl"
    path.write_text(json.dumps({"text": "x"}) + f"\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as told:
        list(read_items(ItemFile(path=str(path))))
    assert told.value.where == at_line(str(path), 2)
