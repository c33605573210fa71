"""Mixtures of a token and its predecessor."""

from __future__ import annotations

import pytest
import torch

from kajiya.models.recurrent.shift import shift, shifted_mixtures


def test_predecessors_stop_at_documents_and_go_on_from_the_last_call() -> None:
    x = torch.arange(1.0, 9.0).view(2, 4, 1)
    starts = torch.tensor([[False, False, True, False], [True, False, False, False]])
    last = torch.tensor([[10.0], [20.0]])
    assert shift(x, None, None)[..., 0].tolist() == [[0, 1, 2, 3], [0, 5, 6, 7]]
    assert shift(x, last, starts)[..., 0].tolist() == [[10, 1, 0, 3], [0, 5, 6, 7]]


@pytest.mark.parametrize("continued", [False, True])
@pytest.mark.parametrize("documents", [False, True])
def test_mixtures_and_their_gradients(continued: bool, documents: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    x, last = normal(2, 6, 3), normal(2, 3) if continued else None
    starts = torch.rand(2, 6, generator=generator) < 0.4 if documents else None
    shares = [normal(1, 1, 3), normal(3), normal(1, 1, 3)]
    mixtures = shifted_mixtures(x, last, starts, shares)
    for mixture, share in zip(mixtures, shares, strict=True):
        assert torch.allclose(mixture, x + share * (shift(x, last, starts) - x))
    assert torch.autograd.gradcheck(
        lambda x, last, *shares: shifted_mixtures(x, last, starts, shares), (x, last, *shares)
    )
