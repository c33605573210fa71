"""Learning-rate schedules rise, hold and fall where they should."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.training.schedule import rate_factor

Kind = Literal["cosine", "wsd"]
kinds = st.sampled_from(["cosine", "wsd"])


@given(st.integers(1, 300), st.floats(0, 0.5), kinds)
def test_factors_are_positive_rise_once_and_fall(total: int, warmup: float, kind: Kind) -> None:
    factors = [rate_factor(step, total, warmup, kind) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_cosine() -> None:
    factors = [rate_factor(step, 100, 0.1, "cosine") for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[55] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_warmup_stable_decay() -> None:
    factors = [rate_factor(step, 100, 0.1, "wsd") for step in range(100)]
    assert factors[9:80] == [1.0] * 71
    assert factors[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])


def test_no_warmup_begins_at_the_peak() -> None:
    assert rate_factor(0, 10, 0.0, "cosine") == rate_factor(0, 10, 0.0, "wsd") == 1.0
