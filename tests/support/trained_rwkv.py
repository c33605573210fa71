"""Recurrent models with weights that have learnt something, not drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TEXT = Path(__file__).parents[2] / "README.ja.md"


def learnt_ids(vocabulary: int) -> torch.Tensor:
    """The README's bytes, folded into `vocabulary` tokens."""
    return torch.tensor(list(TEXT.read_bytes())) % vocabulary


def learn(model: Any, vocabulary: int, steps: int = 60) -> Any:
    """Train `model` on the README's bytes until its loss is well below a guess by frequency."""
    ids = learnt_ids(vocabulary)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.9, 0.99))
    loss = torch.tensor(0.0)
    for _ in range(steps):
        starts = torch.randint(len(ids) - 64, (6, 1), generator=generator)
        batch = ids[starts + torch.arange(64)]
        loss = model(input_ids=batch, labels=batch).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    shares = torch.bincount(ids) / len(ids)
    by_frequency = -(shares * shares.clamp_min(1e-9).log()).sum()
    assert loss < 0.8 * by_frequency, "it has learnt nothing"
    return model.eval()
