"""Markers of a character's speech: the example has them in every answer, and they are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import DataError
from kajiya.data.check import CheckedData, check_file
from kajiya.evaluation.markers import marker_share, read_markers

PERSONA = Path(__file__).resolve().parents[2] / "examples" / "persona"


def load(name: str) -> CheckedData:
    checked = check_file(PERSONA / name)
    assert checked.findings == ()
    return checked


def test_share_of_answers() -> None:
    said = ["おぬし、よう来たのう。", "こんにちは。", "団子が食べたいのじゃ。おぬしもかのう。", ""]
    assert marker_share(said, ("おぬし", "のじゃ")) == 0.5
    assert marker_share([], ("おぬし",)) == 0


def test_a_file_of_markers(tmp_path: Path) -> None:
    (tmp_path / "markers.txt").write_text("おぬし\n\n  ぞよ \n", encoding="utf-8")
    assert read_markers(tmp_path / "markers.txt") == ("おぬし", "ぞよ")
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("empty.txt", "none.txt"):
        with pytest.raises(DataError):
            read_markers(tmp_path / name)


def test_the_example_is_in_character() -> None:
    rows, held_out = load("persona.csv").rows, load("held-out.csv").rows
    markers = read_markers(PERSONA / "markers.txt")
    assert (len(rows), len(held_out)) == (60, 20)
    for row in (*rows, *held_out):
        question, answer = (message.content for message in row.messages)
        assert sum(marker in answer for marker in markers) >= 2, row.id
        assert marker_share([question], markers) == 0, row.id
    asked = [row.messages[0].content for row in (*rows, *held_out)]
    assert len(set(asked)) == 80
