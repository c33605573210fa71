"""What RWKV-7 computes inside chunks of tokens: all chunks of a segment at once, as batched products.

With c the cumulated decay inside a chunk and c' the one before each token, let

    left = [kk·c'; r·c],  right = [kk·a/c; k/c],  pairs = ±left·rightᵀ, only over pairs of the past.

`pairs` holds four blocks [A M; −F E]. With P the state `[key, value]` at the chunk's start and
X = (I + A)⁻¹, the chunk's tokens add [U; V], give Y and leave the state P':

    U = X ((kk·c') P + M V),  Y = (r·c) P + [−F E] [U; V],  P' = D P + keptᵀ [U; V],

where D is c at the chunk's end and kept = [−kk·a/c; k/c]·D. So from one chunk to the next the state goes by a
matrix, P' = T P + W, and T and W need no state. (Peng et al. 2025, arXiv:2503.14456; the chunked form
is that of Yang et al. 2024, arXiv:2406.06484, with decay.) In 32 bits this is exact to rounding up to
about 140 tokens a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Documents:
    """Where documents begin, seen from chunks; all in the kernel's precision, 1 for yes and 0 for no.

    `same` `[chunks, rows, length, length]`: the second token is in the first one's document and not
    after it. `first` and `last` `[chunks, rows, length, 1]`: the token's document is the one that the
    chunk begins with, or ends with. `keep` `[chunks, rows, 1, 1]`: no document begins in the chunk.
    """

    same: Tensor
    first: Tensor
    last: Tensor
    keep: Tensor

    @classmethod
    def of(cls, starts: Tensor, heads: int, length: int, dtype: torch.dtype) -> Documents:
        """From `starts` `[batch, time]`; `time` is a multiple of `length`."""
        batch, time = starts.shape
        number = starts.reshape(batch, time // length, length).cumsum(-1).transpose(0, 1)
        number = number.repeat_interleave(heads, dim=1)  # [chunks, rows, length]
        same = (number[..., :, None] == number[..., None, :]).to(dtype).tril_()
        last = number[..., -1:]
        return cls(
            same,
            (number == 0).to(dtype)[..., None],
            (number == last).to(dtype)[..., None],
            (last == 0).to(dtype)[..., None],
        )


def to_chunks(x: Tensor, length: int, out: Tensor) -> Tensor:
    """`[batch, time, heads, size]` into `out` `[chunks, batch·heads, length, size]`, which is returned."""
    target = out.unflatten(1, (x.shape[0], x.shape[2]))
    target.copy_(x.unflatten(1, (-1, length)).permute(1, 0, 3, 2, 4))
    return out


def from_chunks(x: Tensor, out: Tensor) -> None:
    """The way back, into `out` `[batch, time, heads, size]`, in `out`'s precision."""
    source = x.unflatten(1, (out.shape[0], out.shape[2])).permute(1, 0, 3, 2, 4)
    out.unflatten(1, (-1, x.shape[2])).copy_(source)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a·b over the last two dimensions of `[chunks, rows, ·, ·]`."""
    result: Tensor = torch.bmm(a.flatten(0, 1), b.flatten(0, 1)).unflatten(0, a.shape[:2])
    return result


def add_product(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """out + a·b, in place; returns `out`, which must be contiguous (else it is done matrix by matrix)."""
    out.view(-1, *out.shape[2:]).baddbmm_(a.flatten(0, 1), b.flatten(0, 1))
    return out


class Chunks:
    """The quantities of a segment that do not depend on the state; each `[chunks, rows, ·, ·]`.

    `written` is [U; V], whose first half stands empty until `start_from` has been called.
    """

    def __init__(
        self,
        r: Tensor,
        w: Tensor,
        k: Tensor,
        kk: Tensor,
        a: Tensor,
        written: Tensor,
        documents: Documents | None = None,
        initial: Tensor | None = None,
        unit: float = 1.0,
    ) -> None:
        """Inputs `[chunks, rows, length, size]`; the logarithm of the decay is `unit`·w.

        `written` `[chunks, rows, 2 length, size]` holds v in its second half; `initial` is
        `[rows, key, value]`, or None for zero.
        """
        number, rows, length, _ = r.shape
        self.length = length
        self.documents, self.initial, self.written = documents, initial, written
        self.a, self.kk, self.v = a, kk, written[:, :, length:]
        self.unit = unit
        ones = torch.ones(length, length, dtype=r.dtype, device=r.device).tril_()
        same = ones if documents is None else documents.same
        self.mask = self._mask(ones)
        log_c = product((same * unit).expand(number, rows, length, length), w)
        self.c_before = torch.add(log_c, w, alpha=-unit).exp_()
        self.c = log_c.exp_()
        self.end = self.c[:, :, -1:]  # [chunks, rows, 1, key]
        self.one_over_c = self.c.reciprocal()
        self.left, self.right = torch.empty_like(written), torch.empty_like(written)
        self.kept = torch.empty_like(written)
        halves = slice(length), slice(length, None)
        torch.mul(kk, self.c_before, out=self.left[:, :, :length])
        torch.mul(r, self.c, out=self.left[:, :, length:])
        torch.mul(kk, a, out=self.right[:, :, :length]).mul_(self.one_over_c)
        torch.mul(k, self.one_over_c, out=self.right[:, :, length:])
        self.at_end = -self.end, self.end  # `right` to `kept`
        for half, factor in zip(halves, self.at_end, strict=True):
            torch.mul(self.right[:, :, half], factor, out=self.kept[:, :, half])
        self.pairs = product(self.left, self.right.transpose(2, 3)).mul_(self._signs())
        self.x = self._inverse()
        self.seen = self.left
        if documents is not None:
            self.seen = self.left * _twice(documents.first)
            self.kept.mul_(_twice(documents.last))
        self.x_q = product(self.x, self.seen[:, :, :length])

    def _mask(self, ones: Tensor) -> Tensor:
        """Which pairs count: kk sees the tokens before its own, r its own too; `[…, 2 length, 2 length]`."""
        before = ones.tril(-1)
        both = torch.cat((torch.cat((before, before), 1), torch.cat((ones, ones), 1)))
        return both if self.documents is None else both * self.documents.same.repeat(1, 1, 2, 2)

    def _signs(self) -> Tensor:
        """`mask`, negative where U is taken off y."""
        signs = self.mask.clone()
        signs[..., self.length :, : self.length].neg_()
        return signs

    def _inverse(self) -> Tensor:
        """X = (I + A)⁻¹, A strictly lower triangular."""
        a = self.pairs[:, :, : self.length, : self.length]
        eye = torch.eye(self.length, dtype=a.dtype, device=a.device).expand_as(a)
        solved: Tensor = torch.linalg.solve_triangular(a, eye, upper=False, unitriangular=True)
        return solved

    def u_alone(self) -> Tensor:
        """U if the state at each chunk's start were zero `[chunks, rows, length, value]`."""
        length = self.length
        u = product(product(self.x, self.pairs[:, :, :length, length:]), self.v)
        self.from_initial = self._from_initial()
        if self.from_initial is not None:
            add_product(u, self.x, self.from_initial[:, :, :length])
        return u

    def fresh(self) -> Tensor:
        """`left` of the tokens whose documents begin inside the chunk, else 0."""
        assert self.documents is not None
        return self.left * (1 - _twice(self.documents.first))

    def _from_initial(self) -> Tensor | None:
        if self.documents is None or self.initial is None:
            return None
        return product(self.fresh(), self.initial.expand(len(self.c), *self.initial.shape))

    def matrix(self) -> Tensor:
        """T `[chunks, rows, key, key]`."""
        t = product(self.kept[:, :, : self.length].transpose(2, 3), self.x_q)
        diagonal = self.end.squeeze(2)
        if self.documents is not None:
            diagonal = diagonal * self.documents.keep.squeeze(3)
        t.diagonal(dim1=2, dim2=3).add_(diagonal)
        return t

    def start_from(self, state: Tensor) -> Tensor:
        """Find the states: from the first chunk's `[rows, key, value]` to each chunk's and the one after.

        Returns them `[chunks + 1, rows, key, value]`, and fills `written`.
        """
        u_alone, t = self.u_alone(), self.matrix()
        self.written[:, :, : self.length] = u_alone
        states = torch.empty((len(t) + 1, *state.shape), dtype=state.dtype, device=state.device)
        states[0] = state
        torch.bmm(
            self.kept.flatten(0, 1).transpose(1, 2),
            self.written.flatten(0, 1),
            out=states[1:].flatten(0, 1),
        )
        if self.documents is not None and self.initial is not None:
            states[1:] += (1 - self.documents.keep) * self.end.transpose(2, 3) * self.initial
        for index in range(len(t)):
            states[index + 1].baddbmm_(t[index], states[index])
        self.written[:, :, : self.length] = add_product(u_alone, self.x_q, states[:-1])
        return states

    def resume(self, states: Tensor) -> None:
        """Fill `written` again from what `start_from` returned."""
        self.written[:, :, : self.length] = add_product(self.u_alone(), self.x_q, states[:-1])

    def output(self, states: Tensor) -> Tensor:
        """y `[chunks, rows, length, value]`, after `start_from` or `resume`."""
        length = self.length
        y = product(self.seen[:, :, length:], states[:-1])
        if self.from_initial is not None:
            y += self.from_initial[:, :, length:]
        return add_product(y, self.pairs[:, :, length:], self.written)


def _twice(mask: Tensor) -> Tensor:
    """A mask over tokens `[…, length, 1]` for the two halves of `left` or `right`."""
    return torch.cat((mask, mask), dim=2)
