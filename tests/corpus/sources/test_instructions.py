from __future__ import annotations

import json
from pathlib import Path

import pytest

from kajiya.core.errors import DataError, NotFoundError
from kajiya.corpus.sources.instructions import InstructionsSource, read_instructions

DIALOGUES = Path(__file__).parents[4] / "shared/data/instruction-ja/data.jsonl"


def source(path: Path, **settings: object) -> InstructionsSource:
    return InstructionsSource.checked({"path": str(path)} | settings)


def test_conversations_and_tables(tmp_path: Path) -> None:
    turns = [
        ("system", "丁寧に。"),
        ("user", "一は?"),
        ("assistant", "いち"),
        ("user", "二は?"),
        ("assistant", "に"),
    ]
    conversation = {"messages": [{"role": role, "content": text} for role, text in turns]}
    spoken = {"utterances": [{"name": "user", "text": "やあ"}, {"name": "agent", "text": "どうも"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(conversation), "utf-8")
    (tmp_path / "b.json").write_text(json.dumps([spoken]), "utf-8")
    (tmp_path / "c.csv").write_bytes("質問,回答\n営業時間は?,九時からです。\n".encode("cp932"))
    one, two, three = found = list(read_instructions(source(tmp_path)))
    assert (
        one.text
        == "丁寧に。\n\nユーザー: 一は?\n\nアシスタント: いち\n\nユーザー: 二は?\n\nアシスタント: に\n"
    )
    assert two.text == "ユーザー: やあ\n\nアシスタント: どうも\n"
    assert three.text == "ユーザー: 営業時間は?\n\nアシスタント: 九時からです。\n"
    assert [document.id for document in found] == ["a.jsonl:1", "b.json:1", "c.csv:2"]
    assert {document.domain for document in found} == {"instruction"}
    assert (
        next(read_instructions(source(tmp_path, user="Q: ", assistant="A: "))).text.count("Q: ")
        == 2
    )


def test_rows_and_files_that_are_no_conversation(tmp_path: Path, problems: list[DataError]) -> None:
    good = {"messages": [{"role": "user", "content": "あ"}, {"role": "assistant", "content": "い"}]}
    bad = {"messages": [{"role": "pirate", "content": "あ"}]}
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, (bad, good))), "utf-8")
    (tmp_path / "b.jsonl").write_text("{broken", "utf-8")
    (tmp_path / "c.csv").write_text("色,形\n赤,丸\n", "utf-8")
    found = list(read_instructions(source(tmp_path), problems.append))
    assert [document.id for document in found] == ["a.jsonl:2"]
    assert [
        "a.jsonl" in problems[0].where,
        "b.jsonl" in problems[1].where,
        "c.csv" in problems[2].where,
    ] == [True] * 3
    assert "pirate" in problems[0].message


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        list(read_instructions(source(tmp_path)))


def test_real_dialogues() -> None:
    if not DIALOGUES.exists():
        pytest.skip(f"the shared data is not here: {DIALOGUES}")
    found = list(read_instructions(source(DIALOGUES, licence="MIT")))
    assert len(found) == 669
    assert found[0].text.startswith("ユーザー: タバコを吸うのは悪いことですか？\n\nアシスタント: ")
