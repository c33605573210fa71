"""The minimum of a smooth convex function of many numbers: L-BFGS (Nocedal and Wright, 2006, algorithm 7.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
_REMEMBERED = 10
_MOST_STEPS = 500
_SUFFICIENT = 1e-4  # Armijo's condition
_SMALLEST = 1e-20


def minimise(
    function: Callable[[Vector], tuple[float, Vector]], start: Vector, tolerance: float = 1e-7
) -> Vector:
    """Where `function`, which returns its value and gradient, is least, to `tolerance` of the gradient's largest part."""
    at = start
    value, gradient = function(at)
    past: deque[tuple[Vector, Vector, float]] = deque(maxlen=_REMEMBERED)
    for _ in range(_MOST_STEPS):
        if np.abs(gradient).max() <= tolerance:
            break
        direction = _direction(gradient, past)
        slope = float(direction @ gradient)
        step = 1.0 if past else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        while True:
            candidate = at + step * direction
            candidate_value, candidate_gradient = function(candidate)
            if candidate_value <= value + _SUFFICIENT * step * slope or step < _SMALLEST:
                break
            step /= 2
        moved, turned = candidate - at, candidate_gradient - gradient
        curvature = float(moved @ turned)
        if curvature <= _SMALLEST:  # as near as 64 bits allow
            break
        past.append((moved, turned, 1 / curvature))
        at, value, gradient = candidate, candidate_value, candidate_gradient
    return at


def _direction(gradient: Vector, past: deque[tuple[Vector, Vector, float]]) -> Vector:
    """Downhill, bent by the curvature that the last steps met."""
    result = -gradient
    factors = []
    for moved, turned, inverse in reversed(past):
        factor = inverse * float(moved @ result)
        result = result - factor * turned
        factors.append(factor)
    if past:
        moved, turned, inverse = past[-1]
        result = result / (inverse * float(turned @ turned))
    for (moved, turned, inverse), factor in zip(past, reversed(factors), strict=True):
        result = result + moved * (factor - inverse * float(turned @ result))
    return result
