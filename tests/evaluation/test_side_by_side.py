"""Base and tuned are really asked, one after the other, and each row keeps its own answers."""

from __future__ import annotations

from pathlib import Path

from kajiya.data.rows import Row
from kajiya.evaluation.side_by_side import compare, expected_of, question_of
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.tokenizer.messages import Message


def row(name: str, answer: str, key_fact: str = "") -> Row:
    turns = (Message("user", f"hello {name}"), Message("assistant", answer))
    return Row(name, turns, key_fact)


async def test_compare(tuned_model: ServableModel, tmp_path: Path) -> None:
    rows = [
        row("a", "legal legal", "legal"),
        row("b", "the quick brown fox", "quick"),
        row("c", "something else"),
    ]
    told: list[tuple[int, int]] = []
    engine = WorkerEngine(
        [tuned_model], EngineSettings(slots=2, context_length=4096, threads=1), log=tmp_path / "log"
    )
    found = await compare(
        engine,
        tuned_model.name,
        tuned_model.mixture(),
        "held-out",
        rows,
        lambda done, total: told.append((done, total)),
    )
    await engine.close()
    assert told == [(n, 6) for n in range(1, 7)]
    assert [answered.id for answered in found.rows] == ["a", "b", "c"]
    for answered in found.rows:
        assert answered.question == f"hello {answered.id}"
        assert answered.base.startswith("the quick brown fox")
        assert answered.tuned.startswith("legal legal legal")
    assert (found.base.key_facts, found.tuned.key_facts) == (0.5, 0.5)  # of the rows that have one
    assert 0 < found.base.similarity < 1


async def test_nothing_to_ask(tuned_model: ServableModel, tmp_path: Path) -> None:
    engine = WorkerEngine([tuned_model], EngineSettings(slots=1), log=tmp_path / "log")
    found = await compare(engine, "tuned", (), "none", [], lambda done, total: None)
    await engine.close()
    assert (found.base.key_facts, found.base.similarity, found.rows) == (None, 0, ())


def test_the_last_answer_is_what_is_asked_for() -> None:
    turns = (
        Message("system", "s"),
        Message("user", "q1"),
        Message("assistant", "a1"),
        Message("user", "q2"),
        Message("assistant", "a2"),
    )
    assert question_of(Row("r", turns)) == turns[:-1]
    assert expected_of(Row("r", turns)) == "a2"
    assert expected_of(Row("r", turns[:2])) == "" and question_of(Row("r", turns[:2])) == turns[:2]
