"""What compiled loops over the memory of tensors are written with, in 32 bits whatever is in memory.

NumPy has no bfloat16: such a matrix comes as its bits in `uint16`, and is widened and rounded (to the
nearest, ties to even) here. A loop is compiled at its first call with elements of a kind, kept in a cache
between processes, and runs without Python's lock.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

_LOG2_E = np.float32(1.4426950408889634)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_FAR = np.float32(80.0)  # exp of it is finite in 32 bits

loop = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
inlined = njit(inline="always", fastmath={"reassoc", "contract", "nsz"})


def array(x: Tensor) -> Any:
    """The memory of a contiguous CPU tensor as NumPy sees it: `float32`, or the bits of `bfloat16`."""
    x = x.detach()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def wide(value):
    """An element of a matrix as a float32."""


@overload(wide, inline="always")
def _widen(value):
    if isinstance(value, types.Integer):
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


def narrow(value, like):
    """A float32 as an element of the matrix `like`."""


@overload(narrow, inline="always")
def _round(value, like):
    if like.dtype != types.uint16:
        return lambda value, like: np.float32(value)

    def rounded(value, like):
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return rounded


@inlined
def exp(x: Any) -> Any:
    """e^x for |x| <= 80 to 2e-7: 2^n times a polynomial of the rest, which the compiler vectorises."""
    t = x * _LOG2_E
    n = np.floor(t + _HALF)
    f = t - n
    p = np.float32(1.5403530393381609e-4)
    p = p * f + np.float32(1.3333558146428443e-3)
    p = p * f + np.float32(9.618129107628477e-3)
    p = p * f + np.float32(5.550410866482158e-2)
    p = p * f + np.float32(2.402265069591007e-1)
    p = p * f + np.float32(6.931471805599453e-1)
    p = p * f + _ONE
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def sigmoid(x: Any) -> Any:
    return _ONE / (_ONE + exp(-min(max(x, -_FAR), _FAR)))
