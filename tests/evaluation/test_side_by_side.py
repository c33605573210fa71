"""Base and tuned model asked the same questions by a real engine."""

from __future__ import annotations

from pathlib import Path

from kajiya.data.rows import Row
from kajiya.evaluation.side_by_side import compare
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.tokenizer.messages import Message


def row(number: int, answer: str, key_fact: str = "") -> Row:
    turns = (Message("user", f"question {number}"), Message("assistant", answer))
    return Row(id=f"r{number}", messages=turns, key_fact=key_fact)


async def test_the_tuned_model_is_scored_apart_from_its_base(
    tuned_model: ServableModel, tmp_path: Path
) -> None:
    """The adapter makes the tiny model say "legal" for ever; the bare base does not."""
    rows = [row(1, "legal " * 48, "legal"), row(2, "no"), row(3, "other", "unheard-of")]
    told: list[tuple[int, int]] = []
    engine = WorkerEngine(
        [tuned_model], EngineSettings(slots=2, context_length=256), log=tmp_path / "log"
    )
    try:
        found = await compare(
            engine,
            tuned_model.name,
            tuned_model.mixture(),
            "trained",
            rows,
            lambda done, total: told.append((done, total)),
        )
    finally:
        await engine.close()
    assert [answered.id for answered in found.rows] == ["r1", "r2", "r3"]
    assert all(answered.tuned.startswith("legal legal") for answered in found.rows)
    assert all(answered.base != answered.tuned for answered in found.rows)
    assert (found.base.key_facts, found.tuned.key_facts) == (0.0, 0.5)
    assert found.tuned.similarity > found.base.similarity
    assert told[-1] == (6, 6)
    assert sorted(told) == told
