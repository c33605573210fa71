"""The faster operations leave loss and gradients as the `transformers` code has them."""

from __future__ import annotations

import pytest
import torch

from kajiya.training.batches import collate
from kajiya.training.objectives.supervised import supervised_loss
from support.tuning import adapter_gradients, examples, reference_loss, tuned_pair

FAMILIES = ("llama", "llama3-rope", "gemma", "gemma2", "gemma3")  # windows of 8 in the last two
ROWS = examples(21, 14, 30, 9)


def assert_same_gradients(fast: object, plain: object) -> None:
    ours, theirs = adapter_gradients(fast), adapter_gradients(plain)
    assert ours.keys() == theirs.keys() and ours
    for name, wanted in theirs.items():
        scale = wanted.abs().max().item()
        assert scale > 0, name
        torch.testing.assert_close(ours[name], wanted, rtol=1e-4, atol=1e-4 * scale, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_rows(family: str) -> None:
    fast, plain = tuned_pair(family)
    batch = collate(ROWS, pad_id=0)
    ours, theirs = supervised_loss(fast, batch), reference_loss(plain, batch)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    ours.backward()
    theirs.backward()
    assert_same_gradients(fast, plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_do_not_see_each_other(family: str) -> None:
    fast, plain = tuned_pair(family)
    ours = supervised_loss(fast, collate(ROWS, pad_id=0, packing=True))
    theirs = sum(reference_loss(plain, collate([row], pad_id=0)) for row in ROWS)
    assert isinstance(theirs, torch.Tensor)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    ours.backward()
    theirs.backward()
    assert_same_gradients(fast, plain)


def test_the_comparison_sees_a_document_boundary() -> None:
    """If packed rows saw each other, the loss would be another: else the test above proves nothing."""
    fast, _ = tuned_pair("gemma3")
    packed = collate(ROWS, pad_id=0, packing=True)
    joined = collate([type(ROWS[0])(tuple(packed.input_ids[0].tolist()), (True,) * 74)], pad_id=0)
    joined = type(packed)(packed.input_ids, packed.labels, None, joined.tokens)
    assert supervised_loss(fast, joined).item() != pytest.approx(
        supervised_loss(fast, packed).item(), rel=1e-3
    )


def test_long_rows_keep_the_models_own_attention() -> None:
    from kajiya.training.kernels.install import use_fast_kernels
    from support.tiny_models import tiny_torch_model

    model = tiny_torch_model("llama", 96)
    use_fast_kernels(model, longest=5000)
    assert model.config._attn_implementation == "eager"
    use_fast_kernels(model, longest=100)
    assert model.config._attn_implementation != "eager"
