"""The chunked WKV operation where numbers are hard: 32 bits against the recurrence in 64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kajiya.models.rwkv7.kernel import wkv7
from kajiya.models.rwkv7.recurrent import recurrence

STRONGEST = -math.exp(-0.5)


def inputs(batch: int, time: int, size: int = 32, seed: int = 0) -> list[Tensor]:
    """r, log w, k, v, kk, a, state, initial in fp64 for two heads; decays and rates near 0 and 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    row = (batch, time, 2, size)
    w = STRONGEST * torch.sigmoid(4 * normal(*row))
    kk, a = F.normalize(normal(*row), dim=-1), torch.sigmoid(4 * normal(*row))
    r, k, v, initial = normal(*row), normal(*row), normal(*row), normal(2, size, size)
    return [r, w, k, v, kk, a, normal(batch, 2, size, size), initial]


def run(function: Any, given: list[Tensor], starts: Tensor | None = None) -> list[Tensor]:
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
    """The largest difference in units of each tensor's largest number; infinite if ours is not finite."""
    if not all(bool(x.isfinite().all()) for x in ours):
        return math.inf
    pairs = [(a.double(), b.double()) for a, b in zip(ours, theirs, strict=True)]
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) for a, b in pairs)


@pytest.mark.parametrize("time", [64, 421])
@pytest.mark.parametrize("decay", [STRONGEST, 0.0, None], ids=["strongest", "none", "mixed"])
@pytest.mark.parametrize("rate", [1.0, 0.0, None], ids=["replaces", "adds", "mixed"])
def test_extreme_decays_and_rates(time: int, decay: float | None, rate: float | None) -> None:
    given = inputs(2, time)
    if decay is not None:
        given[1].fill_(decay)
    if rate is not None:
        given[5].fill_(rate)
    assert worst(run(wkv7, [x.float() for x in given]), run(recurrence, given)) <= 5e-6


@pytest.mark.parametrize("decay", [STRONGEST, 0.0])
def test_the_same_key_again_and_again(decay: float) -> None:
    """The triangular system inside a chunk is then as far from diagonal as it can be."""
    given = inputs(1, 200)
    given[1].fill_(decay)
    given[4] = given[4][:, :1].expand_as(given[4]).clone()
    given[5].fill_(1.0)
    assert worst(run(wkv7, [x.float() for x in given]), run(recurrence, given)) <= 1e-5


def test_a_huge_token_that_decays_leaves_small_ones_right() -> None:
    given = inputs(1, 96)
    given[1].fill_(STRONGEST)
    given[2][:, 3] *= 1e4
    ours, exact = (
        run(f, x)[0][:, 70:] for f, x in ((wkv7, [x.float() for x in given]), (recurrence, given))
    )
    assert worst([ours], [exact]) <= 1e-5


@pytest.mark.parametrize("size", [8, 64])
def test_half_precision_inputs_are_computed_in_32_bits(size: int) -> None:
    given = [x.to(torch.bfloat16) for x in inputs(2, 75, size)]
    given[6], given[7] = given[6].float(), given[7].float()
    starts = torch.rand(2, 75, generator=torch.Generator().manual_seed(3)) < 0.1
    ours, exact = run(wkv7, given, starts), run(recurrence, [x.double() for x in given], starts)
    assert ours[0].dtype == ours[1].dtype == torch.float32
    assert worst(ours[:2], exact[:2]) <= 1e-5
    assert worst(ours[2:], exact[2:]) <= 1e-2  # gradients come back in bfloat16


def test_a_long_document_does_not_drift() -> None:
    given = inputs(1, 6000)
    with torch.no_grad():
        ours = wkv7(*(x.float() for x in given[:7]))
        exact = recurrence(*given[:7])
    assert worst(list(ours), list(exact)) <= 1e-5


@pytest.mark.parametrize("time", [1, 2, 31, 33, 65])
@pytest.mark.parametrize("pattern", ["every token", "last token", "one row only", "none"])
def test_documents_of_any_length(time: int, pattern: str) -> None:
    starts = torch.zeros(3, time, dtype=torch.bool)
    if pattern == "every token":
        starts[:] = True
    elif pattern == "last token":
        starts[:, -1] = True
    elif pattern == "one row only":
        starts[1, time // 2] = True
    given = inputs(3, time, 8)
    assert worst(run(wkv7, given, starts), run(recurrence, given, starts)) <= 1e-9


@pytest.mark.parametrize("starts", [None, torch.zeros(2, 0, dtype=torch.bool)])
def test_no_tokens_leave_the_state_alone(starts: Tensor | None) -> None:
    given = [x.float() for x in inputs(2, 0)]
    y, last = wkv7(*given[:7], starts, given[7])
    assert y.shape == given[0].shape
    assert torch.equal(last, given[6])


def test_inputs_in_another_memory_order() -> None:
    given = inputs(2, 50)
    turned = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in given]
    assert all(torch.equal(a, b) for a, b in zip(run(wkv7, turned), run(wkv7, given), strict=True))
