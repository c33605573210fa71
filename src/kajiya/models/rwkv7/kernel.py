"""The WKV operation of RWKV-7: one function, whichever implementation suits the device and the length."""

from __future__ import annotations

from torch import Tensor

from kajiya.models.rwkv7.chunked import chunked
from kajiya.models.rwkv7.recurrent import step


def wkv7(
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
    """S ← S·diag(exp w) − (S kk)(kk·a)ᵀ + v kᵀ, y = S r, over time.

    Inputs are `[batch, time, heads, size]`; `w` is the logarithm of the decay, in [−exp(−0.5), 0].
    `state` `[batch, heads, value, key]` comes before the first token. Where `starts` `[batch, time]` is
    true a document begins: the state before it is `initial` (`[heads, value, key]`, zero if None).
    Computed in 32 bits (64 if `state` has 64). Returns y `[batch, time, heads, size]` and the state
    after the last token, both in that precision. (Peng et al. 2025, arXiv:2503.14456.)
    """
    if r.shape[1] == 1 and starts is None:
        y, state = step(r[:, 0], w[:, 0], k[:, 0], v[:, 0], kk[:, 0], a[:, 0], state)
        return y[:, None], state
    if r.is_cuda:
        from kajiya.models.rwkv7.triton_kernel import triton_wkv7

        return triton_wkv7(r, w, k, v, kk, a, state, starts, initial)
    return chunked(r, w, k, v, kk, a, state, starts, initial)
