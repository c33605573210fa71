"""How loops over the characters of a corpus are compiled: once a machine, kept between processes.

A compiled function runs without Python's lock. It gets arrays and numbers, never Python objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """`function`, compiled at its first call with arguments of a kind. Division by zero gives inf or NaN."""
    return cast(_Function, njit(nogil=True, cache=True, error_model="numpy")(function))
