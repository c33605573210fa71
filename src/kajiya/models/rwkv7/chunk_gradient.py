"""The backward pass of `kajiya.models.rwkv7.chunk`, by hand; names as there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kajiya.models.rwkv7.chunk import Chunks, add_product, product


@dataclass(frozen=True)
class Gradients:
    """Of the inputs `[chunks, rows, length, size]`; `state` and `initial` `[rows, key, value]`."""

    r: Tensor
    w: Tensor
    k: Tensor
    v: Tensor
    kk: Tensor
    a: Tensor
    state: Tensor
    initial: Tensor | None


def gradients(chunks: Chunks, states: Tensor, dy: Tensor, d_last: Tensor) -> Gradients:
    """From those of y `[chunks, rows, length, value]` and of the last state `[rows, key, value]`.

    `states` is what `start_from` returned; `written` must be filled.
    """
    length = chunks.length
    # What y alone tells of [U; V]; through U it reaches the state at the chunk's start.
    d_written = product(chunks.pairs[:, :, length:].transpose(2, 3), dy)
    into = product(chunks.seen[:, :, length:].transpose(2, 3), dy)
    add_product(into, chunks.x_q.transpose(2, 3), d_written[:, :, :length])
    d_states = torch.cat((into, d_last[None]))  # becomes the gradient of each of `states`
    t = chunks.matrix().transpose(2, 3)
    for index in reversed(range(len(t))):
        d_states[index].baddbmm_(t[index], d_states[index + 1])
    ends = d_states[1:]
    add_product(d_written, chunks.kept, ends)
    dz = product(chunks.x.transpose(2, 3), d_written[:, :, :length])  # of X⁻¹ U
    d_out = torch.cat((dz, dy), dim=2)
    dv = product(chunks.pairs[:, :, :length, length:].transpose(2, 3), dz)
    dv += d_written[:, :, length:]
    d_left = product(d_out, states[:-1].transpose(2, 3))
    d_right = product(chunks.written, ends.transpose(2, 3))
    for half, factor in zip((slice(length), slice(length, None)), chunks.at_end, strict=True):
        d_right[:, :, half].mul_(factor)
    d_initial = _documents(chunks, d_out, ends, d_left, d_right)
    signs = chunks.mask.clone()
    signs[..., :length].neg_()  # A and F lower U and y
    d_pairs = product(d_out, chunks.written.transpose(2, 3)).mul_(signs)
    add_product(d_left, d_pairs, chunks.right)
    add_product(d_right, d_pairs.transpose(2, 3), chunks.left)
    dw = _decay(chunks, d_left, d_right, torch.linalg.vecdot(states[1:], ends))
    db = d_right[:, :, :length].mul_(chunks.one_over_c)
    dkk = d_left[:, :, :length].mul_(chunks.c_before).addcmul_(db, chunks.a)
    return Gradients(
        r=d_left[:, :, length:].mul_(chunks.c),
        w=dw,
        k=d_right[:, :, length:].mul_(chunks.one_over_c),
        v=dv,
        kk=dkk,
        a=db.mul_(chunks.kk),
        state=d_states[0],
        initial=d_initial,
    )


def _documents(
    chunks: Chunks, d_out: Tensor, ends: Tensor, d_left: Tensor, d_right: Tensor
) -> Tensor | None:
    """Cut what does not cross documents out of `d_left` and `d_right`; the gradient of `initial`."""
    documents, initial = chunks.documents, chunks.initial
    if documents is None:
        return None if initial is None else torch.zeros_like(initial)
    first = torch.cat((documents.first, documents.first), dim=2)
    d_left *= first
    d_right *= torch.cat((documents.last, documents.last), dim=2)
    if initial is None:
        return None
    d_left += product(d_out, initial.mT.expand(len(ends), *initial.shape)) * (1 - first)
    d_initial = product(chunks.fresh().transpose(2, 3), d_out)
    d_initial += (1 - documents.keep) * chunks.end.transpose(2, 3) * ends
    return d_initial.sum(0)


def _decay(chunks: Chunks, d_left: Tensor, d_right: Tensor, at_end: Tensor) -> Tensor:
    """Gradient of w; `at_end` `[chunks, rows, key]` comes through the last state.

    A token's decay is in c from that token on and in c' from the next one on, within its document.
    """
    length = chunks.length
    by = chunks.left * d_left
    since = by[:, :, length:]
    for half in (slice(length), slice(length, None)):
        since.addcmul_(chunks.right[:, :, half], d_right[:, :, half], value=-1)
    since[:, :, -1] += at_end
    mask = (chunks.mask[..., :length] * chunks.unit).expand(*by.shape[:3], length)
    return product(mask.transpose(2, 3), by)
