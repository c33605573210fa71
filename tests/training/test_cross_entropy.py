"""Loss and gradient of the chunked cross-entropy are torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from kajiya.training.objectives.cross_entropy import BLOCK, CHUNK, linear_cross_entropy


def reference(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, softcap: float | None
) -> torch.Tensor:
    logits = hidden @ weight.t()
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return cross_entropy(logits, labels, reduction="sum")


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("vocabulary", [31, BLOCK + 1])
@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_value_and_gradient(count: int, vocabulary: int, softcap: float | None) -> None:
    torch.manual_seed(count)
    hidden = torch.randn(count, 10, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(vocabulary, 10, dtype=torch.float64)
    labels = torch.randint(0, vocabulary, (count,))
    ours = linear_cross_entropy(hidden, weight, labels, softcap)
    (gradient,) = torch.autograd.grad(3 * ours, hidden)
    expected = reference(hidden, weight, labels, softcap)
    (wanted,) = torch.autograd.grad(3 * expected, hidden)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-7)  # the sum is told in 32 bits
    torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_bf16_is_near_the_exact_value(softcap: float | None) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(70, 32).bfloat16(), (torch.randn(500, 32) / 6).bfloat16()
    labels = torch.randint(0, 500, (70,))
    ours = linear_cross_entropy(hidden, weight, labels, softcap)
    exact = reference(hidden.double(), weight.double(), labels, softcap)
    assert ours.item() == pytest.approx(exact.item(), rel=5e-3)


@pytest.mark.parametrize("softcap", [None, 8.0])
def test_leaving_out_what_is_rare_in_bf16_hardly_turns_the_gradient(softcap: float | None) -> None:
    torch.manual_seed(0)
    vocabulary = 2 * BLOCK + 77
    # Most of the vocabulary is improbable, and has a common direction, as in a trained model.
    weight = (torch.randn(vocabulary, 48) + 2 * torch.randn(48)).bfloat16() / 4
    hidden = torch.randn(90, 48).bfloat16().requires_grad_()
    labels = torch.randint(0, vocabulary, (90,))
    (gradient,) = torch.autograd.grad(linear_cross_entropy(hidden, weight, labels, softcap), hidden)
    exact = hidden.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(reference(exact, weight.double(), labels, softcap), exact)
    assert (gradient - wanted).norm() / wanted.norm() < 0.01


def test_a_logit_far_above_those_of_the_first_block() -> None:
    hidden = torch.full((3, 2), 10.0, requires_grad=True)
    weight = torch.zeros(2 * BLOCK, 2)
    weight[-1] = 30.0  # a logit of 600: its exponential over the others' overflows
    labels = torch.tensor([0, 5, 2 * BLOCK - 1])
    ours = linear_cross_entropy(hidden, weight, labels)
    expected = reference(hidden, weight, labels, None)
    assert ours.item() == pytest.approx(expected.item()) == 1200
    torch.testing.assert_close(
        torch.autograd.grad(ours, hidden), torch.autograd.grad(expected, hidden)
    )


def test_no_labels_are_no_loss() -> None:
    hidden = torch.zeros(0, 4, requires_grad=True)
    loss = linear_cross_entropy(hidden, torch.randn(9, 4), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


def test_large_logits_stay_finite() -> None:
    hidden = torch.full((2, 4), 1e4, requires_grad=True)
    weight = torch.eye(5, 4)
    loss = linear_cross_entropy(hidden, weight, torch.tensor([0, 4]))
    loss.backward()
    assert torch.isfinite(loss) and hidden.grad is not None and torch.isfinite(hidden.grad).all()


def test_in_bf16_a_broad_distribution_pulls_the_gradient_to_no_side() -> None:
    torch.manual_seed(0)
    vocabulary = 16 * BLOCK
    weight = torch.randn(vocabulary, 48).bfloat16()
    hidden = (torch.randn(90, 48) / 3).bfloat16().requires_grad_()
    labels = torch.randint(0, vocabulary, (90,))
    (gradient,) = torch.autograd.grad(linear_cross_entropy(hidden, weight, labels), hidden)
    probable = (hidden.detach().double() @ weight.double().t()).softmax(-1)
    wanted = probable @ weight.double()
    pull = gradient + weight[labels]  # without the labels' own part, which is exact
    assert (pull - wanted).sum(0).norm() / wanted.sum(0).norm() < 0.01
