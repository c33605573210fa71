"""A million tokens through one sequence: the memory stays what it was and the numbers stay numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from kajiya.models.rwkv7 import Rwkv7Config, Rwkv7ForCausalLM

PIECE, TOTAL = 5_000, 1_000_000


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.real
def test_a_million_tokens() -> None:
    torch.manual_seed(0)
    model = Rwkv7ForCausalLM(
        Rwkv7Config(vocab_size=256, hidden_size=64, num_hidden_layers=2, head_size=64)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # a fresh model's matrices of zeros would hide a lot
            parameter.add_(torch.randn_like(parameter) * 0.05)
    generator = torch.Generator().manual_seed(1)
    state, early = None, 0
    for at in range(0, TOTAL, PIECE):
        ids = torch.randint(256, (1, PIECE), generator=generator)
        with torch.no_grad():
            out = model(ids, state=state, use_cache=True, logits_to_keep=1)
        state = out.state
        if at == 10 * PIECE:
            early = resident()
    assert torch.isfinite(out.logits).all()
    assert torch.isfinite(state.wkv).all() and float(state.wkv.abs().max()) < 1e4
    assert resident() < early + 64 * 2**20  # a state a token would be gigabytes
