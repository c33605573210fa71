"""Token shift: what each position saw one token before, and mixtures of the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def shift(x: Tensor, last: Tensor | None, starts: Tensor | None) -> Tensor:
    """Each position's predecessor, `[batch, time, width]`.

    `last` `[batch, width]` comes before the first position (zero if None); `starts` `[batch, time]`
    marks the first tokens of documents, which have no predecessor.
    """
    first = x.new_zeros(x.shape[0], 1, x.shape[2]) if last is None else last.to(x.dtype)[:, None]
    previous = torch.cat((first, x[:, :-1]), dim=1)
    return previous if starts is None else previous.masked_fill(starts[..., None], 0)


def shifted_mixtures(
    x: Tensor, last: Tensor | None, starts: Tensor | None, shares: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """x + share · (predecessor − x) for each of `shares` (any shape with `width` numbers).

    `last` and `starts` as of `shift`. Keeps x alone for the backward pass, which sums up in few passes.
    """
    return tuple(_Mixtures.apply(x, last, starts, *shares))  # type: ignore[no-untyped-call]


class _Mixtures(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, last: Tensor | None, starts: Tensor | None, *shares: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, last, starts, *shares)
        difference = shift(x, last, starts).sub_(x)
        return tuple(torch.addcmul(x, difference, _row(share, x)) for share in shares)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, last, starts, *shares = ctx.saved_tensors
        of_shares: list[Tensor | None] = [None] * len(shares)
        if any(ctx.needs_input_grad[3:]):
            difference = shift(x, last, starts).sub_(x)
            of_shares = [
                (difference * grad)
                .sum((0, 1), dtype=torch.promote_types(x.dtype, torch.float32))
                .view(share.shape)
                .to(share.dtype)
                if needed
                else None
                for grad, share, needed in zip(grads, shares, ctx.needs_input_grad[3:], strict=True)
            ]
        before = grads[0] * _row(shares[0], x)  # what reaches the predecessors
        own = grads[0] - before
        for grad, share in zip(grads[1:], shares[1:], strict=True):
            row = _row(share, x)
            before.addcmul_(grad, row)
            own.addcmul_(grad, 1 - row)
        if starts is not None:
            before.masked_fill_(starts[..., None], 0)
        own[:, :-1] += before[:, 1:]
        of_last = before[:, 0].to(last.dtype) if ctx.needs_input_grad[1] else None
        return own, of_last, None, *of_shares


def _row(share: Tensor, x: Tensor) -> Tensor:
    return share.to(x.dtype).view(-1)
