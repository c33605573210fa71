"""The weights of an RWKV-7 as the compiled step reads them: like parts of all layers in one array.

Matrices are `[layers, rows, columns]` with a factor for each row: 32 bits with factors of one, or 8 bits
with the row's largest value as 127. With 4 bits, groups of weights have factors of their own; the low-rank
pairs, which are small and feed the state, keep 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kajiya.inference.rwkv.tiles import GROUP, LANES
from kajiya.models.compiled import array

Bits = Literal[4, 8, 32]
# Of the largest weight of a group of 4 bits, which part is to be the end of the scale: the best is taken.
_ENDS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
# Rows of `Weights.vectors`.
VECTORS = (
    *("ln1_gain", "ln1_bias", "ln2_gain", "ln2_bias"),
    *("x_r", "x_k", "x_v", "x_w", "x_a", "x_g", "x_ffn"),
    *("w0", "a0", "v0", "k_k", "k_a", "r_k", "ln_x_gain", "ln_x_bias"),
)


class Matrix(NamedTuple):
    """`values` `[layers, rows, columns]`, each row to be multiplied by its `factor` `[layers, rows]`.

    Those of 4 bits are `[layers, rows, bytes]`, in the groups that `tiles` describes, with factors of one.
    """

    values: Any
    factor: Any


class Weights(NamedTuple):
    """Everything a step needs. The pairs `…1`, `…2` are the low-rank ones of w, a, v and g."""

    embedding: Any  # [vocabulary, width], as bits of bfloat16 or in 32 bits
    around: Any  # [4, width]: gain and bias of the norms before the first and after the last layer
    vectors: Any  # [layers, len(VECTORS), width]
    r: Matrix
    k: Matrix
    v: Matrix
    w1: Matrix
    a1: Matrix
    v1: Matrix
    g1: Matrix
    w2: Matrix
    a2: Matrix
    v2: Matrix
    g2: Matrix
    output: Matrix
    ffn_key: Matrix
    ffn_value: Matrix
    head: Matrix  # of one "layer"
    norm_eps: float
    group_norm_eps: float


def pack(model: Any, bits: Bits) -> Weights:
    """The weights of an `Rwkv7ForCausalLM` on the CPU."""
    blocks = model.model.blocks
    width = model.config.hidden_size

    small: Bits = 8 if bits == 4 else bits

    def matrix(of: Callable[[Any], Tensor]) -> Matrix:
        return _matrix([of(layer).detach().float() for layer in blocks], bits)

    def low_rank(name: str) -> tuple[Matrix, Matrix]:
        if name == "v" and len(blocks) == 1:  # layer 0 has none, and never asks for it
            pairs = [(torch.zeros(width, LANES), torch.zeros(LANES, width))]
        else:
            layers = blocks if name != "v" else [blocks[1], *blocks[1:]]
            pairs = [(getattr(b.att, f"{name}1"), getattr(b.att, f"{name}2")) for b in layers]
        first = [_padded(pair[0].detach().float().t(), columns=False) for pair in pairs]
        second = [_padded(pair[1].detach().float().t(), columns=True) for pair in pairs]
        return _matrix(first, small), _matrix(second, small)

    w, a, v, g = (low_rank(name) for name in "wavg")
    embedding = model.model.emb.weight.detach()
    if embedding.dtype != torch.bfloat16:
        embedding = embedding.float()
    norms = (blocks[0].ln0, model.model.ln_out)
    around = [part.detach().float() for norm in norms for part in (norm.weight, norm.bias)]
    return Weights(
        embedding=array(embedding.contiguous()),
        around=torch.stack(around).numpy(),
        vectors=torch.stack([_vectors(block, width) for block in blocks]).numpy(),
        r=matrix(lambda layer: layer.att.receptance.weight),
        k=matrix(lambda layer: layer.att.key.weight),
        v=matrix(lambda layer: layer.att.value.weight),
        w1=w[0],
        a1=a[0],
        v1=v[0],
        g1=g[0],
        w2=w[1],
        a2=a[1],
        v2=v[1],
        g2=g[1],
        output=matrix(lambda layer: layer.att.output.weight),
        ffn_key=matrix(lambda layer: layer.ffn.key.weight),
        ffn_value=matrix(lambda layer: layer.ffn.value.weight),
        head=_matrix([model.head.weight.detach().float()], bits),
        norm_eps=float(model.config.norm_eps),
        group_norm_eps=float(model.config.group_norm_eps),
    )


def _padded(matrix: Tensor, *, columns: bool) -> Tensor:
    """A low-rank factor with its rank, the number of rows or of `columns`, at a multiple of `LANES`."""
    size = matrix.shape[1 if columns else 0]
    more = -size % LANES
    return torch.nn.functional.pad(matrix, (0, more) if columns else (0, 0, 0, more))


def _matrix(layers: list[Tensor], bits: Bits) -> Matrix:
    stacked = torch.stack(layers).contiguous()
    if bits == 4 and stacked.shape[-1] % GROUP == 0:
        return Matrix(
            np.stack([_grouped(layer) for layer in stacked]),
            np.ones(stacked.shape[:2], np.float32),
        )
    if bits == 32:
        return Matrix(stacked.numpy(), np.ones(stacked.shape[:2], np.float32))
    largest = stacked.abs().amax(-1)
    factor = torch.where(largest > 0, largest / 127, torch.ones(()))
    return Matrix((stacked / factor[..., None]).round().to(torch.int8).numpy(), factor.numpy())


def _grouped(matrix: Tensor) -> Any:
    """A matrix `[rows, columns]` in 4 bits, `[rows, columns / GROUP * GROUP_BYTES]`."""
    groups = matrix.unflatten(1, (-1, GROUP))
    at = groups.abs().argmax(-1, keepdim=True)
    end = groups.gather(-1, at)  # with its sign, as -8: the other side reaches only to 7
    best, error = torch.zeros_like(end), torch.full_like(end, torch.inf)
    for part in _ENDS:
        factor = (end * (part / -8)).bfloat16().float()
        off = (_rounded(groups, factor) * factor - groups).square().sum(-1, keepdim=True)
        best, error = torch.where(off < error, factor, best), torch.minimum(off, error)
    values = (_rounded(groups, best) + 8).to(torch.uint8)
    packed = values[..., : GROUP // 2] | values[..., GROUP // 2 :] << 4
    return torch.cat([best.bfloat16().view(torch.uint8), packed], -1).flatten(1).numpy()


def _rounded(groups: Tensor, factor: Tensor) -> Tensor:
    """What of 4 bits times `factor` comes nearest."""
    safe = torch.where(factor == 0, torch.ones(()), factor)
    return (groups / safe).round().clamp(-8, 7)


def _vectors(block: Any, width: int) -> Tensor:
    att = block.att
    v0 = att.v0 if att.layer > 0 else torch.zeros(width)
    rows = [
        *(block.ln1.weight, block.ln1.bias, block.ln2.weight, block.ln2.bias),
        *(att.x_r, att.x_k, att.x_v, att.x_w, att.x_a, att.x_g, block.ffn.x_k),
        *(att.w0, att.a0, v0, att.k_k, att.k_a, att.r_k, att.ln_x.weight, att.ln_x.bias),
    ]
    return torch.stack([row.detach().float().reshape(width) for row in rows])
