"""Learning-rate schedules as a factor of the peak rate."""

from __future__ import annotations

import math
from typing import Literal

_DECAY_SHARE = 0.2


def rate_factor(step: int, total: int, warmup: float, kind: Literal["cosine", "wsd"]) -> float:
    """The factor for update `step` (from 0) of `total`.

    Linear warm-up over `warmup · total` steps; then cosine to 0 (Loshchilov & Hutter 2017), or constant
    with a linear decay over the last fifth (warm-up–stable–decay, Hu et al. 2024, arXiv:2404.06395).
    """
    rising = max(1, round(warmup * total)) if warmup else 0
    if step < rising:
        return (step + 1) / rising
    if kind == "cosine":
        progress = (step - rising) / max(1, total - rising)
        return 0.5 * (1 + math.cos(math.pi * progress))
    decay = max(1, round(_DECAY_SHARE * total))
    return min(1.0, (total - step) / decay)
