"""The fused LoRA layer computes what PEFT computes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from kajiya.training.adapters.lora_linear import use_fused_lora
from support.tuning import randomise


def wrapped(dtype: torch.dtype, *, bias: bool = False, **options: Any) -> Any:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(12, 20, bias=bias), nn.Tanh(), nn.Linear(20, 7, bias=bias))
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["0", "2"], **options)
    tuned = get_peft_model(model.to(dtype), config, autocast_adapter_dtype=False)
    randomise(tuned)
    return tuned


def run(model: Any, x: Tensor) -> list[Tensor]:
    """Output and the gradients of the input and of every adapter matrix."""
    x = x.detach().requires_grad_()
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert x.grad is not None and all(g is not None for g in gradients)
    return [y, x.grad, *gradients]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("shape", [(5,), (2, 9), (2, 3, 4)])
def test_forward_and_backward_are_pefts(
    dtype: torch.dtype, tolerance: float, bias: bool, shape: tuple[int, ...]
) -> None:
    plain = wrapped(dtype, bias=bias)
    fused = copy.deepcopy(plain)
    assert use_fused_lora(fused) == 2
    x = torch.randn(*shape, 12, dtype=dtype)
    for ours, theirs in zip(run(fused, x), run(plain, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_a_layout_that_is_not_contiguous_changes_nothing() -> None:
    fused = wrapped(torch.float64)
    use_fused_lora(fused)
    x = torch.randn(12, 4, 3, dtype=torch.float64).permute(2, 1, 0)
    torch.testing.assert_close(fused(x), fused(x.contiguous()), rtol=0, atol=1e-12)


def test_the_frozen_base_gets_no_gradient() -> None:
    fused = wrapped(torch.float64, bias=True)
    use_fused_lora(fused)
    run(fused, torch.randn(4, 12, dtype=torch.float64))
    assert all(p.grad is None for n, p in fused.named_parameters() if "lora_" not in n)


def test_the_gradient_is_that_of_the_numbers() -> None:
    fused = wrapped(torch.float64, bias=True)
    use_fused_lora(fused)
    x = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fused, (x,))


@pytest.mark.parametrize("options", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_layers_with_more_than_plain_lora_keep_pefts_code(options: dict[str, Any]) -> None:
    assert use_fused_lora(wrapped(torch.float32, **options)) == 0


def test_joined_layers_are_the_layers_apart() -> None:
    from kajiya.training.adapters.lora_linear import join, lora_linear

    torch.manual_seed(1)
    model = nn.ModuleDict({"q": nn.Linear(12, 20, bias=False), "k": nn.Linear(12, 8, bias=False)})
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["q", "k"])
    tuned: Any = get_peft_model(model.double(), config, autocast_adapter_dtype=False)  # type: ignore[arg-type]
    randomise(tuned)
    layers = [tuned.base_model.model["q"], tuned.base_model.model["k"]]
    x = torch.randn(5, 12, dtype=torch.float64, requires_grad=True)
    parameters = [p for p in tuned.parameters() if p.requires_grad]
    apart = torch.cat([layer(x) for layer in layers], dim=1)
    weight = join(layers)
    together = lora_linear(x, layers, weight, None)
    torch.testing.assert_close(together, apart)
    ours, theirs = (torch.autograd.grad(y.sin().sum(), [x, *parameters]) for y in (together, apart))
    torch.testing.assert_close(ours, theirs)
    # A fused optimiser reads a gradient's memory in the order of its parameter's.
    assert all(g.stride() == p.stride() for g, p in zip(ours[1:], parameters, strict=True))
    # The layers' own weights lie in the joined matrix.
    weight.zero_()
    assert all(not layer.base_layer.weight.any() for layer in layers)
