"""The RWKV engine against the model's own `generate`, and against itself in company."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from kajiya.core.errors import EngineError
from kajiya.inference.protocol import GenerateChunk, RequestError
from kajiya.inference.rwkv.engine import RwkvEngine
from kajiya.inference.text import TextWriter
from support.engine_answers import ask, ask_together, generated, wish
from support.rwkv_folders import make_rwkv
from support.waiting import wait_until


def prompts(count: int, longest: int = 60, seed: int = 0) -> list[list[int]]:
    random.seed(seed)
    return [
        [random.randrange(3, 320) for _ in range(random.randint(1, longest))] for _ in range(count)
    ]


def as_text(engine: RwkvEngine, model: Any, prompt: list[int], tokens: int) -> str:
    """What `generate` writes, put together as the engine does, up to the end of text."""
    writer = TextWriter(engine._vocabulary.pieces, [])
    text = ""
    for token in generated(model, prompt, tokens):
        if token in engine._tokenizer.stop_ids:
            break
        text += writer.write(token)
    return text


def test_greedy_answers_are_those_of_generate_for_200_prompts(
    exact: RwkvEngine, rwkv_model: Any
) -> None:
    asked = prompts(200)
    for start in range(0, len(asked), 25):
        some = asked[start : start + 25]
        answers = ask_together(exact, [(prompt, {}) for prompt in some])
        assert answers == [as_text(exact, rwkv_model, prompt, 12) for prompt in some]


@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_an_answer_is_the_same_alone_and_among_31_others(
    make_engine: Any, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kajiya.inference.rwkv.steppers._TRIALS", ())
    engine = make_engine(weights=weights)
    wishes = [
        (prompt, {"temperature": index % 2 * 1.0, "seed": index, "top_p": 0.9, "max_tokens": 30})
        for index, prompt in enumerate(prompts(32, seed=1))
    ]
    alone = [ask(engine, prompt, **options) for prompt, options in wishes]
    assert len(set(alone)) > 25
    assert ask_together(engine, wishes) == alone


def test_rwkv6_runs_too(make_engine: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = make_rwkv(tmp_path / "six", "rwkv6")
    engine = make_engine(folder=folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for prompt in prompts(5):
        assert ask(engine, prompt) == as_text(engine, model, prompt, 12)


def test_a_long_prompt_is_read_between_the_tokens_of_others(exact: RwkvEngine) -> None:
    happened: list[str] = []
    started, long_waits = threading.Event(), threading.Event()

    def short(chunk: GenerateChunk) -> bool:
        happened.append("short")
        started.set()
        if len(happened) == 3:
            long_waits.wait(20)  # holds the engine until the long prompt is in the queue
        return "long ended" in happened

    def long(chunk: GenerateChunk) -> bool:
        happened.append("long ended" if chunk.finish_reason else "long")
        return False

    first = threading.Thread(
        target=exact.complete, args=([5], wish(max_tokens=4000, tokens=(5,)), short)
    )
    first.start()
    assert started.wait(20)
    prompt = [7, 8, 9] * 700  # nine pieces
    second = threading.Thread(target=exact.complete, args=(prompt, wish(max_tokens=1), long))
    second.start()
    long_waits.set()
    second.join(60)
    first.join(60)
    reading = [index for index, what in enumerate(happened) if what == "long"]
    assert len(reading) >= 8
    between = [happened[a:b].count("short") for a, b in pairwise(reading)]
    assert all(count == 1 for count in between)


def test_short_prompts_that_come_together_are_read_together(
    make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(slots=8)
    step, steps = engine._stepper.step, []

    def counted(rows: Any) -> Any:
        steps.append((len(rows.tokens), len(rows.last)))
        return step(rows)

    monkeypatch.setattr(engine._stepper, "step", counted)
    wishes = [(prompt, {"max_tokens": 1}) for prompt in prompts(8, longest=20)]
    alone = [ask(engine, prompt, **options) for prompt, options in wishes]
    held, all_are_there = threading.Event(), threading.Event()

    def hold(chunk: GenerateChunk) -> bool:
        held.set()
        return all_are_there.wait(20)

    first = threading.Thread(target=engine.complete, args=([5], wish(), hold))
    first.start()
    assert held.wait(20)
    steps.clear()
    with ThreadPoolExecutor(8) as pool:
        together = [pool.submit(ask, engine, prompt, **options) for prompt, options in wishes]
        wait_until(lambda: len(engine._scheduler._arrived) == 8)
        all_are_there.set()
        assert [answer.result() for answer in together] == alone
    first.join()
    assert steps == [(sum(len(prompt) for prompt, _ in wishes), 8)]


def test_leaving_ends_the_answer_and_frees_the_slot(make_engine: Any) -> None:
    engine = make_engine(slots=1)
    seen: list[GenerateChunk] = []

    def leave(chunk: GenerateChunk) -> bool:
        seen.append(chunk)
        return len(seen) == 5

    engine.complete([5, 6], wish(max_tokens=4000), leave)
    assert len(seen) == 5
    assert ask(engine, [5, 6], max_tokens=3)


def test_a_prompt_that_was_read_before_is_not_read_again(
    make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    read: list[tuple[int, int]] = []
    advance = engine._advance

    def watched(member: Any, count: int) -> Any:
        read.append((member.read, member.read + count))
        return advance(member, count)

    monkeypatch.setattr(engine, "_advance", watched)
    common, rng = prompts(1, longest=1)[0] * 40, random.Random(0)
    tails = [[rng.randrange(3, 320) for _ in range(20)] for _ in range(3)]
    fresh = [ask(engine, common + tail, reuse_prompt=False) for tail in tails]
    read.clear()
    assert [ask(engine, common + tail) for tail in tails] == fresh
    # The second prompt shows where they part; the third is read from there.
    assert read == [(0, 60), (0, 40), (40, 60), (40, 60)]
    read.clear()
    answer = ask(engine, common + tails[0])
    assert answer == fresh[0]
    assert read == [(40, 60)]


def test_without_memory_for_earlier_prompts_all_is_read(make_engine: Any) -> None:
    engine = make_engine(prefix_cache=0)
    prompt = prompts(1, longest=1)[0] * 30
    assert ask(engine, prompt) == ask(engine, prompt)
    assert engine._cache.find((), prompt) == (0, None)


def test_tokens_that_are_none(exact: RwkvEngine) -> None:
    for token in (-1, 10_000):
        with pytest.raises(RequestError, match=str(token)):
            ask(exact, [5, token])


def test_what_fails_for_one_request_ends_no_other(
    make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(slots=2)
    expected = ask(engine, [5])
    find = engine._cache.find

    def broken(mixture: Any, prompt: Any) -> Any:
        if prompt == (6,):
            raise RuntimeError("broken on purpose")
        return find(mixture, prompt)

    monkeypatch.setattr(engine._cache, "find", broken)
    with pytest.raises(EngineError):
        ask(engine, [6])
    assert ask(engine, [5]) == expected

    def leaves_badly(chunk: GenerateChunk) -> bool:
        raise OSError("the other end is gone")

    with pytest.raises(EngineError):
        engine.complete([5], wish(), leaves_badly)
    assert ask(engine, [5]) == expected
    assert engine.alive


def test_an_engine_that_cannot_go_on_says_so_and_takes_nothing_more(
    make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(slots=2)

    def broken(*_: Any) -> Any:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(engine._stepper, "step", broken)
    for _ in range(2):
        with pytest.raises(EngineError):
            ask(engine, [5])
    assert not engine.alive


def test_a_vocabulary_of_any_size_smaller_than_the_width(make_engine: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = make_rwkv(tmp_path / "wide", hidden_size=384)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert model.config.vocab_size % 16
    for prompt in prompts(3):
        engine = make_engine(folder=folder, weights="fp32")
        assert ask(engine, prompt) == as_text(engine, model, prompt, 12)
    assert ask(make_engine(folder=folder, weights="int8"), [5])
