from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from kajiya.training.batches import IGNORED
from kajiya.training.objectives import language_model
from kajiya.training.objectives.language_model import (
    language_model_loss,
    trained_linear_cross_entropy,
)
from support.tiny_models import tiny_torch_model


@pytest.fixture
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "CHUNK", 5)


def case(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (
        torch.randn(rows, 16, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for rows in (13, 31)
    )
    return hidden, weight, torch.randint(31, (13,), generator=generator)


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("penalty", [0.0, 1e-2])
def test_loss_and_both_gradients(penalty: float) -> None:
    hidden, weight, targets = case(torch.float32)
    loss = trained_linear_cross_entropy(hidden, weight, targets, penalty)
    (loss * 0.5).backward()
    found = (hidden.grad, weight.grad)
    hidden, weight, targets = case()
    logits = hidden @ weight.t()
    reference = cross_entropy(logits, targets, reduction="sum")
    extra = penalty / 2 * logits.max(dim=-1).values.square().sum()
    ((reference + extra) * 0.5).backward()
    torch.testing.assert_close(loss.double(), reference, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found, (hidden.grad, weight.grad), strict=True):
        assert ours is not None
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)


def test_in_bf16_it_is_as_exact_as_bf16_is() -> None:
    hidden, weight, targets = case()
    narrow = [tensor.detach().bfloat16().requires_grad_() for tensor in (hidden, weight)]
    loss = trained_linear_cross_entropy(*narrow, targets)
    loss.backward()
    exact = [tensor.detach().double().requires_grad_() for tensor in narrow]
    cross_entropy(exact[0] @ exact[1].t(), targets, reduction="sum").backward()
    for ours, theirs in zip(narrow, exact, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        error = (ours.grad.double() - theirs.grad).norm() / theirs.grad.norm()
        assert error < 0.01


def test_without_gradients_nothing_is_kept() -> None:
    hidden, weight, targets = case()
    with torch.no_grad():
        loss = trained_linear_cross_entropy(hidden, weight, targets)
    assert not loss.requires_grad


def test_documents_of_a_row_do_not_see_each_other() -> None:
    """A Llama on packed rows gives the loss of the documents one by one."""
    model = tiny_torch_model("llama", 96)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 96, (2, 24), generator=generator)
    targets = torch.randint(1, 96, (2, 24), generator=generator)
    positions = torch.cat([torch.arange(9), torch.arange(15)]).expand(2, 24)
    packed = language_model_loss(model, ids, targets, positions)
    parts = (slice(0, 9), slice(9, 24))
    alone = sum(
        language_model_loss(
            model, ids[:, part], targets[:, part], torch.arange(9 if part.stop == 9 else 15)[None]
        )
        for part in parts
    )
    torch.testing.assert_close(packed, alone)


def test_positions_after_the_text_do_not_count() -> None:
    model = tiny_torch_model("llama", 96)
    ids = torch.randint(1, 96, (1, 10))
    positions = torch.arange(10)[None]
    targets = torch.randint(1, 96, (1, 10))
    short = language_model_loss(model, ids[:, :6], targets[:, :6], positions[:, :6])
    targets[:, 6:] = IGNORED
    torch.testing.assert_close(language_model_loss(model, ids, targets, positions), short)
