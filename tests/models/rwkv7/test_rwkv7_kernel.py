"""The chunked kernel against the plain recurrence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kajiya.models.rwkv7.chunked import LENGTH
from kajiya.models.rwkv7.kernel import wkv7
from kajiya.models.rwkv7.recurrent import recurrence

SIZE = 4


def inputs(
    batch: int, time: int, heads: int = 2, size: int = SIZE, *, seed: int = 0
) -> list[Tensor]:
    """r, log w, k, v, kk, a, state, initial in fp64, in the ranges that a model gives them."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    row = (batch, time, heads, size)
    w = -math.exp(-0.5) * torch.sigmoid(2 * normal(*row))
    kk, a = F.normalize(normal(*row), dim=-1), torch.sigmoid(2 * normal(*row))
    state, initial = normal(batch, heads, size, size), normal(heads, size, size)
    return [normal(*row), w, normal(*row), normal(*row), kk, a, state, initial]


def run(function: Any, given: list[Tensor], starts: Tensor | None) -> list[Tensor]:
    """Outputs, final state, and the gradients of a function of both to everything."""
    leaves = [x.clone().requires_grad_() for x in given]
    y, last = function(*leaves[:7], starts, leaves[7])
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
    time=st.integers(1, 3 * LENGTH + 1),
    batch=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.03, 0.3, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_agrees_with_the_recurrence(time: int, batch: int, density: float, seed: int) -> None:
    given = inputs(batch, time, seed=seed)
    starts = None
    if density:
        starts = torch.rand(batch, time, generator=torch.Generator().manual_seed(seed)) < density
    assert worst(run(wkv7, given, starts), run(recurrence, given, starts)) <= 1e-9


def test_many_heads_and_rows_are_worked_on_in_parts() -> None:
    given = inputs(5, 4 * LENGTH, heads=9)
    assert worst(run(wkv7, given, None), run(recurrence, given, None)) <= 1e-9


def test_half_precision_inputs_are_computed_in_32_bits() -> None:
    given = [x.to(torch.bfloat16) for x in inputs(2, 70)]
    given[6], given[7] = given[6].float(), given[7].float()
    ours, exact = run(wkv7, given, None), run(recurrence, [x.double() for x in given], None)
    assert ours[0].dtype == ours[1].dtype == torch.float32
    assert worst(ours[:2], exact[:2]) <= 1e-5
    assert worst(ours[2:], exact[2:]) <= 1e-2  # gradients come back in bfloat16


@pytest.mark.parametrize("starts", [None, torch.zeros(2, 0, dtype=torch.bool)])
def test_no_tokens_leave_the_state_alone(starts: Tensor | None) -> None:
    given = inputs(2, 0)
    y, last = wkv7(*given[:7], starts, given[7])
    assert y.shape == given[0].shape
    assert torch.equal(last, given[6])


def test_a_long_row_is_kept_in_few_states() -> None:
    """The backward pass keeps the inputs and a state a chunk, not a state a token."""
    time, heads, size = 16 * LENGTH, 2, 32
    given = [x.float().requires_grad_() for x in inputs(1, time, heads, size)]
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        wkv7(*given[:7])
    row = time * heads * size * 4
    assert sum(kept.values()) < 6 * row + row * size // LENGTH + row // 2
