"""Asks the base and the tuned model the same questions and sets their answers side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Literal

from pydantic import BaseModel, ConfigDict

from kajiya.data.rows import Row
from kajiya.evaluation.answers import character_f1, holds_key_fact
from kajiya.inference.protocol import Engine, GenerateRequest
from kajiya.tokenizer.messages import Message

Who = Literal["base", "tuned"]
_ANSWER_TOKENS = 48


class Answered(BaseModel):
    """One question, what was expected, and what each model said."""

    model_config = ConfigDict(frozen=True)
    id: str
    question: str
    expected: str
    key_fact: str
    base: str
    tuned: str


class Score(BaseModel):
    """Of one model on one set. `key_facts` is the share of answers that hold theirs, of those with one."""

    model_config = ConfigDict(frozen=True)
    key_facts: float | None
    similarity: float


class Comparison(BaseModel):
    """Both models on one set of questions."""

    model_config = ConfigDict(frozen=True)
    name: str
    base: Score
    tuned: Score
    rows: tuple[Answered, ...]


async def compare(
    engine: Engine,
    model: str,
    adapters: tuple[tuple[str, float], ...],
    name: str,
    rows: Sequence[Row],
    progress: Callable[[int, int], None],
) -> Comparison:
    """Ask every row's question of `model` without and with `adapters`, greedily.

    One model after the other: engines do not batch requests with different adapters together.
    """
    said: dict[Who, list[str]] = {}
    done = 0

    async def ask(mixture: tuple[tuple[str, float], ...], row: Row) -> str:
        nonlocal done
        request = GenerateRequest(
            model=model,
            messages=question_of(row),
            adapters=mixture,
            max_tokens=_ANSWER_TOKENS,
            temperature=0,
        )
        text = ""
        async with aclosing(engine.generate(request)) as chunks:
            async for chunk in chunks:
                text += chunk.text
        done += 1
        progress(done, 2 * len(rows))
        return text.strip()

    who: Who
    for who, mixture in (("base", ()), ("tuned", adapters)):
        said[who] = await asyncio.gather(*(ask(mixture, row) for row in rows))
    answered = tuple(
        Answered(
            id=row.id,
            question=question_of(row)[-1].content,
            expected=expected_of(row),
            key_fact=row.key_fact,
            base=first,
            tuned=second,
        )
        for row, first, second in zip(rows, said["base"], said["tuned"], strict=True)
    )
    return Comparison(
        name=name, base=_score(answered, "base"), tuned=_score(answered, "tuned"), rows=answered
    )


def question_of(row: Row) -> tuple[Message, ...]:
    """The turns up to the last answer, which is what the model is to give."""
    return tuple(row.messages[:-1]) if _answered(row) else tuple(row.messages)


def expected_of(row: Row) -> str:
    """The last answer."""
    return row.messages[-1].content if _answered(row) else ""


def _answered(row: Row) -> bool:
    return row.messages[-1].role == "assistant"


def _score(rows: Sequence[Answered], who: Who) -> Score:
    answers = [(row.base if who == "base" else row.tuned, row) for row in rows]
    facts = [holds_key_fact(answer, row.key_fact) for answer, row in answers if row.key_fact]
    wording = [character_f1(answer, row.expected) for answer, row in answers if row.expected]
    return Score(
        key_facts=sum(facts) / len(facts) if facts else None,
        similarity=sum(wording) / len(wording) if wording else 0.0,
    )
