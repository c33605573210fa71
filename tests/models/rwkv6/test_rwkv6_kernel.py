"""The chunked kernel against the plain recurrence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kajiya.models.rwkv6.kernel import CHUNK, wkv6
from kajiya.models.rwkv6.recurrent import recurrence

SIZE = 4


def inputs(
    batch: int, time: int, heads: int = 2, size: int = SIZE, *, strength: float = 1.0, seed: int = 0
) -> list[Tensor]:
    """r, log w, k, v, u, state, initial in fp64; `strength` spreads the decay's exponent."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    row = (batch, time, heads, size)
    w = -torch.exp(normal(*row) * strength)
    state = normal(batch, heads, size, size)
    return [
        normal(*row),
        w,
        normal(*row),
        normal(*row),
        normal(heads, size),
        state,
        normal(*state.shape[1:]),
    ]


def run(function: Any, given: list[Tensor], starts: Tensor | None) -> list[Tensor]:
    """Outputs, final state, and the gradients of a function of both to everything."""
    leaves = [x.clone().requires_grad_() for x in given]
    r, w, k, v, u, state, initial = leaves
    y, last = function(r, w, k, v, u, state, starts, initial)
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (x.double() * torch.randn(x.shape, generator=generator, dtype=torch.float64)).sum()
        for x in (y, last)
    )
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    zeros = [torch.zeros_like(x) if g is None else g for x, g in zip(given, grads, strict=True)]
    return [y.detach(), last.detach(), *zeros]


def worst(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference in units of each tensor's largest number."""
    pairs = [(a.double(), b.double()) for a, b in zip(ours, theirs, strict=True) if b.numel()]
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in pairs)


@settings(max_examples=60, deadline=None)
@given(
    time=st.integers(1, 3 * CHUNK + 1),
    batch=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.03, 0.3, 1.0]),
    strength=st.sampled_from([0.3, 1.0, 4.0]),
    seed=st.integers(0, 2**31),
)
def test_agrees_with_the_recurrence(
    time: int, batch: int, density: float, strength: float, seed: int
) -> None:
    given = inputs(batch, time, strength=strength, seed=seed)
    starts = None
    if density:
        starts = torch.rand(batch, time, generator=torch.Generator().manual_seed(seed)) < density
    assert worst(run(wkv6, given, starts), run(recurrence, given, starts)) <= 1e-9


def test_many_heads_and_rows_are_worked_on_in_parts() -> None:
    given = inputs(5, 4 * CHUNK, heads=9)
    assert worst(run(wkv6, given, None), run(recurrence, given, None)) <= 1e-9


@pytest.mark.parametrize("decay", [-1e-6, -30.0, -104.0, -1e4, -1e30])
def test_any_decay_is_safe_in_32_bits(decay: float) -> None:
    """Where the usual quotient of cumulative products is infinite or not a number."""
    given = inputs(2, 100, size=16)
    given[1] = given[1] * 1e-3 + decay * (torch.rand(given[1].shape, dtype=torch.float64) < 0.5)
    exact = run(recurrence, given, None)
    ours = run(wkv6, [x.float() for x in given], None)
    assert all(bool(x.isfinite().all()) for x in ours)
    assert worst(ours, exact) <= 2e-5


def test_a_decay_of_minus_infinity_forgets() -> None:
    given = inputs(1, 2 * CHUNK)
    given[1][:, CHUNK + 3] = -torch.inf
    ours = run(wkv6, given, None)
    assert all(bool(x.isfinite().all()) for x in ours)
    assert float(ours[7].abs().max()) > 0  # the first state is read before it is forgotten …
    cut = inputs(1, 2 * CHUNK)
    cut[1][:, CHUNK + 3] = -torch.inf
    cut[5] += 1
    assert torch.equal(run(wkv6, cut, None)[1], ours[1])  # … and is without influence after


def test_half_precision_inputs_are_computed_in_32_bits() -> None:
    given = [x.to(torch.bfloat16) for x in inputs(2, 70)]
    given[5], given[6] = given[5].float(), given[6].float()
    ours, exact = run(wkv6, given, None), run(recurrence, [x.double() for x in given], None)
    assert ours[0].dtype == ours[1].dtype == torch.float32
    assert worst(ours[:2], exact[:2]) <= 1e-5
    assert worst(ours[2:], exact[2:]) <= 1e-2  # gradients come back in bfloat16


@pytest.mark.parametrize("starts", [None, torch.zeros(2, 0, dtype=torch.bool)])
def test_no_tokens_leave_the_state_alone(starts: Tensor | None) -> None:
    r, w, k, v, u, state, initial = inputs(2, 0)
    y, last = wkv6(r, w, k, v, u, state, starts, initial)
    assert y.shape == r.shape
    assert torch.equal(last, state)


def test_a_long_row_is_kept_in_few_states() -> None:
    """The backward pass keeps the inputs and a state a chunk, not a state a token."""
    time, heads, size = 16 * CHUNK, 2, 32
    given = [x.float().requires_grad_() for x in inputs(1, time, heads, size)]
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        wkv6(*given[:6])
    row = time * heads * size * 4
    assert sum(kept.values()) < 4 * row + row * size // CHUNK + row // 2
