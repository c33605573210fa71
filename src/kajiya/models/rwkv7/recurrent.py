"""The WKV recurrence of RWKV-7 one token at a time: decoding, and the reference of the faster forms."""

from __future__ import annotations

import torch
from torch import Tensor


def step(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    kk: Tensor,
    a: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor]:
    """One token: inputs `[batch, heads, size]`, `state` `[batch, heads, value, key]`.

    S ← S·diag(exp w) − (S kk)(kk·a)ᵀ + v kᵀ, y = S r (Peng et al. 2025, arXiv:2503.14456, eq. 16 on);
    `w` is the logarithm of the decay. Returns y and the new state, in the state's precision.
    """
    r, w, k, v, kk, a = (x.to(state.dtype) for x in (r, w, k, v, kk, a))
    removed = torch.matmul(state, kk.unsqueeze(-1))  # [batch, heads, value, 1]
    update = torch.cat((v.unsqueeze(-1), -removed), dim=-1)
    against = torch.stack((k, kk * a), dim=-2)
    state = state * w.exp().unsqueeze(-2) + torch.matmul(update, against)
    return torch.matmul(state, r.unsqueeze(-1)).squeeze(-1), state


def recurrence(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    kk: Tensor,
    a: Tensor,
    state: Tensor,
    starts: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """All tokens in turn; arguments and results as of `kajiya.models.rwkv7.kernel.wkv7`.

    Differentiable by autograd, which keeps every state: for tests and for comparison only.
    """
    outputs = []
    fresh = torch.zeros_like(state) if initial is None else initial.to(state.dtype).expand_as(state)
    for t in range(r.shape[1]):
        if starts is not None:
            state = torch.where(starts[:, t, None, None, None], fresh, state)
        y, state = step(r[:, t], w[:, t], k[:, t], v[:, t], kk[:, t], a[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state
