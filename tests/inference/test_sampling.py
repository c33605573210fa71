"""The choice of tokens, against a plain implementation of the same definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kajiya.inference.protocol import GenerateRequest
from kajiya.inference.sampling import Sampler, choose

DRAWS = 4000


def reference(logits: Any, temperature: float, top_p: float, min_p: float) -> Any:
    """The probabilities after temperature, nucleus and min-p, in 64 bits."""
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    before = np.concatenate(([0.0], np.cumsum(p[order])[:-1]))
    kept = np.zeros(len(p), bool)
    kept[order[before < top_p]] = True
    kept[order[0]] = True
    kept &= p >= min_p * p.max()
    return np.where(kept, p, 0) / p[kept].sum()


def drawn(logits: Any, temperature: float, top_p: float, min_p: float) -> Any:
    """How often each token is chosen, for uniform numbers spread evenly over [0, 1)."""
    uniform = (np.arange(DRAWS) + 0.5) / DRAWS
    settings = np.column_stack([np.tile([temperature, top_p, min_p], (DRAWS, 1)), uniform])
    tokens = np.zeros(DRAWS, np.int64)
    rows = np.tile(logits, (DRAWS, 1))
    counters = np.zeros(2, np.int64)
    for member in (1, 0):
        choose(rows, settings, tokens, counters, member, 2)
    return np.bincount(tokens, minlength=len(logits)) / DRAWS


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("min_p", [0.0, 0.1, 1.0])
def test_each_token_is_drawn_as_often_as_it_should_be(
    temperature: float, top_p: float, min_p: float
) -> None:
    logits = np.random.default_rng(0).normal(0, 2, 100).astype(np.float32)
    expected = reference(logits, temperature, top_p, min_p)
    found = drawn(logits, temperature, top_p, min_p)
    assert not found[expected == 0].any()
    # Evenly spread numbers miss a share by less than one of them at either end.
    assert np.abs(found - expected).max() <= 1.5 / DRAWS


def test_temperature_zero_takes_the_largest_and_the_first_of_equals() -> None:
    logits = np.array([[0.0, 3.0, 3.0, -1.0]], np.float32)
    tokens = np.zeros(1, np.int64)
    choose(logits, np.array([[0.0, 0.5, 0.0, 0.9]]), tokens, np.zeros(2, np.int64), 0, 1)
    assert tokens[0] == 1


@pytest.mark.parametrize("top_p", [0.5, 1.0])
def test_what_is_ruled_out_is_never_drawn(top_p: float) -> None:
    logits = np.full(50, -np.inf, np.float32)
    logits[[7, 30]] = 1.0, 0.0
    found = drawn(logits, 1.0, top_p, 0.0)
    assert found.nonzero()[0].tolist() == ([7] if top_p == 0.5 else [7, 30])


def test_penalties_lower_what_was_written() -> None:
    sampler = Sampler(
        GenerateRequest(model="m", text="a", frequency_penalty=0.5, presence_penalty=0.25, seed=0)
    )
    for token in (3, 3, 5):
        sampler.chose(token)
    logits = np.zeros(8, np.float32)
    sampler.prepare(logits)
    assert logits.tolist() == [0, 0, 0, -1.25, 0, -0.75, 0, 0]


def test_a_seed_gives_the_same_numbers_again() -> None:
    def numbers(seed: int) -> list[float]:
        sampler = Sampler(GenerateRequest(model="m", text="a", seed=seed))
        return [sampler.prepare(np.zeros(4, np.float32))[3] for _ in range(5)]

    assert numbers(1) == numbers(1)
    assert numbers(1) != numbers(2)
    assert numbers(-1) == numbers(-1)
