"""Columns are found by what people call them."""

from __future__ import annotations

import pytest

from kajiya.data.columns import Columns, find_columns
from kajiya.data.problems import TableError


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["質問", "回答"], Columns(question="質問", answer="回答")),
        (["問い", "答え", "番号"], Columns(question="問い", answer="答え", id="番号")),
        (["Q", "A"], Columns(question="Q", answer="A")),
        (["Ｑ", " ａ "], Columns(question="Ｑ", answer=" ａ ")),
        (["指示", "入力", "出力"], Columns(question="指示", input="入力", answer="出力")),
        (["入力", "出力"], Columns(question="入力", answer="出力")),
        (["instruction", "input", "output"], Columns(question="instruction", input="input", answer="output")),
        (["Prompt", "COMPLETION"], Columns(question="Prompt", answer="COMPLETION")),
        (["question", "answer", "System Prompt"], Columns("question", "answer", system="System Prompt")),
        (["Key Fact", "question", "answer"], Columns("question", "answer", key_fact="Key Fact")),
        (["質問文", "回 答", "要点", "分類"], Columns("質問文", "回 答", key_fact="要点", category="分類")),
        (["prompt", "messages"], Columns(messages="messages")),
        (["conversations", "id"], Columns(messages="conversations", id="id")),
    ],
)  # fmt: skip
def test_found_by_name(names: list[str], expected: Columns) -> None:
    assert find_columns(names) == expected


def test_mapped_by_the_user() -> None:
    names = ["設問その一", "質問", "回答", "模範"]
    found = find_columns(names, {"質問": "設問その一", "answer": "模範", "key_fact": "回答"})
    assert found == Columns(question="設問その一", answer="模範", key_fact="回答")


def test_a_mapping_decides_between_two() -> None:
    names = ["質問", "question", "answer", "messages"]
    with pytest.raises(TableError, match="'質問', 'question'"):
        find_columns(names)
    assert find_columns(names, {"question": "QUESTION"}).question == "question"


def test_what_is_needed_can_be_less() -> None:
    assert find_columns(["質問", "要点"], needs=["question"]) == Columns(
        question="質問", key_fact="要点"
    )
