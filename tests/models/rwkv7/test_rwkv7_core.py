"""The fused form of what is between the projections, and of the channel mix, against plain operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kajiya.models.recurrent.shift import shift
from kajiya.models.rwkv7 import Rwkv7Config, chunked
from kajiya.models.rwkv7.channel_mix import ChannelMix
from kajiya.models.rwkv7.core import CoreParameters, Projections, core
from kajiya.models.rwkv7.fused import fused_core

HEADS, SIZE = 3, 8
WIDTH = HEADS * SIZE


def run(
    function: Any, inputs: list[Tensor | None], starts: Tensor | None, frozen: bool
) -> list[Tensor]:
    """Output, last state, and the gradients of a function of both to everything that needs one."""
    leaves = [None if x is None else x.clone().requires_grad_() for x in inputs]
    if frozen:
        for leaf in leaves[8:14]:
            assert leaf is not None
            leaf.requires_grad_(False)
    x, p, (state, initial) = Projections(*leaves[:8]), CoreParameters(*leaves[8:14]), leaves[14:]
    out, last = function(x, p, 1e-3, state, starts, initial)
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (x * torch.randn(x.shape, generator=generator, dtype=torch.float64)).sum()
        for x in (out, last)
    )
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    grads = torch.autograd.grad(loss, wanted, allow_unused=True)
    found = [torch.zeros_like(x) if g is None else g for x, g in zip(wanted, grads, strict=True)]
    return [out.detach(), last.detach(), *found]


@settings(max_examples=40, deadline=None)
@given(
    time=st.integers(2, 2 * chunked.LENGTH + 9),
    batch=st.integers(1, 2),
    density=st.sampled_from([0.0, 0.05, 0.5]),
    first_layer=st.booleans(),
    tuned=st.booleans(),
    frozen=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_agrees_with_plain_operations(
    time: int,
    batch: int,
    density: float,
    first_layer: bool,
    tuned: bool,
    frozen: bool,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs: list[Tensor | None] = [normal(batch, time, WIDTH) for _ in range(8)]
    if first_layer:
        inputs[6] = inputs[7] = None
    inputs += [normal(1, 1, WIDTH) for _ in range(3)]
    inputs += [normal(HEADS, SIZE), normal(WIDTH), normal(WIDTH)]
    inputs += [normal(batch, HEADS, SIZE, SIZE), normal(HEADS, SIZE, SIZE) if tuned else None]
    starts = torch.rand(batch, time, generator=generator) < density if density else None
    ours, plain = (run(f, inputs, starts, frozen) for f in (fused_core, core))
    for a, b in zip(ours, plain, strict=True):
        assert float((a - b).abs().max()) <= 1e-9 * max(1.0, float(b.abs().max()))


def test_segments_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 200, WIDTH)] * 8 + [(WIDTH,)] * 3 + [(HEADS, SIZE), (WIDTH,), (WIDTH,)]
    shapes += [(2, HEADS, SIZE, SIZE), (HEADS, SIZE, SIZE)]
    inputs: list[Tensor | None] = [
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    ]
    starts = torch.rand(2, 200, generator=generator) < 0.03
    whole = run(fused_core, inputs, starts, frozen=False)
    monkeypatch.setattr(chunked, "_SEGMENT", 1)
    for a, b in zip(run(fused_core, inputs, starts, frozen=False), whole, strict=True):
        assert float((a - b).abs().max()) <= 1e-9 * max(1.0, float(b.abs().max()))


def test_the_channel_mix_and_its_gradient() -> None:
    mix = ChannelMix(Rwkv7Config(vocab_size=8, hidden_size=16, head_size=8), 0).double()
    torch.nn.init.uniform_(mix.x_k)
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leaves = [x.requires_grad_(), *mix.parameters()]
    mixed = x + mix.x_k * (shift(x, None, None) - x)
    plain = torch.relu(mixed @ mix.key.weight.T).square() @ mix.value.weight.T
    ours = mix(x)
    assert torch.allclose(ours, plain)
    pairs = zip(*(torch.autograd.grad(y.sin().sum(), leaves) for y in (ours, plain)), strict=True)
    assert all(torch.allclose(a, b) for a, b in pairs)
