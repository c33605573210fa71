"""The recurrence of RWKV-6 one token at a time: decoding, and the reference of the chunked kernel."""

from __future__ import annotations

import torch
from torch import Tensor


def step(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, u: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """One token: inputs `[batch, heads, size]`, `state` `[batch, heads, value, key]`.

    y = (S + v (u ⊙ k)ᵀ) r, S ← S·diag(exp w) + v kᵀ (Peng et al. 2024, arXiv:2404.05892, section 4.2);
    `w` is the logarithm of the decay. Returns y and the new state, in the state's precision.
    """
    r, w, k, v, u = (x.to(state.dtype) for x in (r, w, k, v, u))
    y = torch.matmul(state, r.unsqueeze(-1)).squeeze(-1)
    y = y + (r * u * k).sum(-1, keepdim=True) * v
    written = v.unsqueeze(-1) * k.unsqueeze(-2)  # [batch, heads, value, key]
    return y, torch.addcmul(written, state, w.exp().unsqueeze(-2))


def recurrence(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    u: Tensor,
    state: Tensor,
    starts: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """All tokens in turn; arguments and results as of `kajiya.models.rwkv6.kernel.wkv6`.

    Differentiable by autograd, which keeps every state: for tests and for comparison only.
    """
    outputs = []
    fresh = torch.zeros_like(state) if initial is None else initial.to(state.dtype).expand_as(state)
    for t in range(r.shape[1]):
        if starts is not None:
            state = torch.where(starts[:, t, None, None, None], fresh, state)
        y, state = step(r[:, t], w[:, t], k[:, t], v[:, t], u, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state
