"""The GPU kernel against the plain recurrence: on a GPU, or in Triton's interpreter, slowly, anywhere.

Without a GPU: `pip install triton`, then `TRITON_INTERPRET=1 pytest` on this file.
"""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kajiya.models.rwkv7.recurrent import recurrence

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("there is no GPU, and TRITON_INTERPRET is not 1", allow_module_level=True)
pytest.importorskip("triton")


def results(function: Any, given: list[Tensor], starts: Tensor | None) -> list[Tensor]:
    """Outputs, final state, and the gradients of a function of both to everything."""
    leaves = [x.clone().requires_grad_() for x in given]
    y, last = function(*leaves[:7], starts, leaves[7])
    weights = torch.Generator().manual_seed(1)
    loss = sum((x * torch.randn(x.shape, generator=weights).to(x)).sum() for x in (y, last))
    grads = torch.autograd.grad(loss, leaves, materialize_grads=True)
    return [y.detach(), last.detach(), *grads]


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("time", [1, 16, 37])
def test_agrees_with_the_recurrence(time: int, documents: bool) -> None:
    from kajiya.models.rwkv7.triton_kernel import triton_wkv7

    torch.manual_seed(time)
    row = (2, time, 2, 16)
    given = [
        torch.randn(row),
        -math.exp(-0.5) * torch.sigmoid(2 * torch.randn(row)),
        torch.randn(row),
        torch.randn(row),
        F.normalize(torch.randn(row), dim=-1),
        torch.sigmoid(2 * torch.randn(row)),
        torch.randn(2, 2, 16, 16),
        torch.randn(2, 16, 16),
    ]
    given = [x.to(DEVICE) for x in given]
    starts = torch.rand(2, time, device=DEVICE) < 0.3 if documents else None
    exact = results(recurrence, [x.double() for x in given], starts)
    for ours, theirs in zip(results(triton_wkv7, given, starts), exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)
