"""Compiled loops over the rows of a matrix, in 32 bits whatever the type in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from kajiya.models.compiled import loop, narrow, sigmoid, wide

_ONE = np.float32(1.0)
_GELU = np.float32(1.5957691216057308)  # 2 sqrt(2 / pi)
_CUBIC = np.float32(0.044715)


@loop
def rms_norm(x: Any, gain: Any, eps: float, out: Any, inverse: Any) -> None:
    """`out` = x / rms(x) · gain for each row of `x` `[n, width]`; `inverse` `[n]` = 1 / rms(x)."""
    rows, width = x.shape
    for i in range(rows):
        square = np.float32(0)
        for j in range(width):
            value = wide(x[i, j])
            square += value * value
        r = _ONE / np.sqrt(square / np.float32(width) + np.float32(eps))
        inverse[i] = r
        for j in range(width):
            out[i, j] = narrow(wide(x[i, j]) * r * gain[j], out)


@loop
def rms_norm_gradient(g: Any, x: Any, gain: Any, inverse: Any, out: Any) -> None:
    """`out` = the gradient with respect to `x`, given `g`, that of `rms_norm`'s result."""
    rows, width = x.shape
    for i in range(rows):
        along = np.float32(0)
        for j in range(width):
            along += wide(g[i, j]) * gain[j] * wide(x[i, j])
        r = inverse[i]
        along *= r * r / np.float32(width)
        for j in range(width):
            out[i, j] = narrow((wide(g[i, j]) * gain[j] - wide(x[i, j]) * along) * r, out)


@loop
def gate(y: Any, gelu: bool, out: Any) -> None:
    """`out` `[n, width]` = f(a) · b of the halves a, b of `y` `[n, 2 width]`; f: GELU (tanh) or SiLU.

    Both are a · sigmoid(z): z = a for SiLU, 2 sqrt(2 / pi) (a + 0.044715 a³) for GELU.
    """
    rows, width = out.shape
    cubic, slope = (_CUBIC, _GELU) if gelu else (np.float32(0), _ONE)
    for i in range(rows):
        for j in range(width):
            a = wide(y[i, j])
            s = sigmoid(slope * (a + cubic * a * a * a))
            out[i, j] = narrow(a * s * wide(y[i, width + j]), out)


@loop
def gate_gradient(g: Any, y: Any, gelu: bool, out: Any) -> None:
    """`out` `[n, 2 width]` = the gradient with respect to `y`, given `g`, that of `gate`'s result."""
    rows, width = g.shape
    cubic, slope = (_CUBIC, _GELU) if gelu else (np.float32(0), _ONE)
    for i in range(rows):
        for j in range(width):
            a, b, d = wide(y[i, j]), wide(y[i, width + j]), wide(g[i, j])
            s = sigmoid(slope * (a + cubic * a * a * a))
            rise = s * (_ONE - s) * slope * (_ONE + np.float32(3) * cubic * a * a)
            out[i, j] = narrow(d * b * (s + a * rise), out)
            out[i, width + j] = narrow(d * a * s, out)


@loop
def tally(powers: Any, share: Any, total: Any, largest: Any) -> None:
    """Adds the sum of the rows of `powers` `[n, columns]` to `total`; of each row, the largest share.

    `largest` `[n]` = max over columns of powers · `share` `[columns]`; nothing is negative.
    """
    rows, columns = powers.shape
    added = np.zeros(columns, np.float32)
    for i in range(rows):
        row = powers[i]
        most = np.int32(0)
        for j in range(columns):
            added[j] += wide(row[j])
        for j in range(columns):
            # Of numbers that are not negative, the larger has the larger bits: an integer maximum
            # is vectorised whatever the numbers, a floating-point one only if there is no NaN.
            bits = np.float32(wide(row[j]) * share[j]).view(np.int32)
            most = max(most, bits)
        largest[i] = np.int32(most).view(np.float32)
    for j in range(columns):
        total[j] += added[j]


@loop
def rotate(
    y: Any, first: int, gain: Any, eps: float, cos: Any, sin: Any, out: Any, inverse: Any
) -> None:
    """Heads from the columns of `y` that begin at `first`, normalised if `gain` `[size]` is not empty.

    `y` is `[batch · time, columns]`, `out` `[batch, heads, time, size]`, `inverse` `[batch, heads, time]`;
    `cos` and `sin` `[batch or 1, time, size]` rotate the pairs (j, j + size / 2).
    """
    batch, heads, time, size = out.shape
    half = size // 2
    normal = np.empty(size, np.float32)
    for b in range(batch):
        for t in range(time):
            c, s = cos[min(b, len(cos) - 1), t], sin[min(b, len(sin) - 1), t]
            c_low, c_high, s_low, s_high = c[:half], c[half:], s[:half], s[half:]
            for h in range(heads):
                start = first + h * size
                row = y[b * time + t, start : start + size]
                out_low, out_high = out[b, h, t, :half], out[b, h, t, half:]
                for j in range(size):
                    normal[j] = wide(row[j])
                r = _ONE
                if len(gain):
                    square = np.float32(0)
                    for j in range(size):
                        square += normal[j] * normal[j]
                    r /= np.sqrt(square / np.float32(size) + np.float32(eps))
                    for j in range(size):
                        normal[j] *= r * gain[j]
                inverse[b, h, t] = r
                low, high = normal[:half], normal[half:]
                for j in range(half):
                    turned = low[j] * wide(c_low[j]) - high[j] * wide(s_low[j])
                    out_low[j] = narrow(turned, out)
                for j in range(half):
                    turned = high[j] * wide(c_high[j]) + low[j] * wide(s_high[j])
                    out_high[j] = narrow(turned, out)


@loop
def rotate_gradient(
    g: Any, y: Any, first: int, gain: Any, inverse: Any, cos: Any, sin: Any, out: Any
) -> None:
    """The columns of `out`, the gradient with respect to `y`, given `g`, that of `rotate`'s result."""
    batch, heads, time, size = g.shape
    half = size // 2
    back = np.empty(size, np.float32)
    for b in range(batch):
        for t in range(time):
            c, s = cos[min(b, len(cos) - 1), t], sin[min(b, len(sin) - 1), t]
            c_low, c_high, s_low, s_high = c[:half], c[half:], s[:half], s[half:]
            for h in range(heads):
                start = first + h * size
                row = y[b * time + t, start : start + size]
                target = out[b * time + t, start : start + size]
                low, high = g[b, h, t, :half], g[b, h, t, half:]
                back_low, back_high = back[:half], back[half:]
                for j in range(half):
                    back_low[j] = wide(low[j]) * wide(c_low[j]) + wide(high[j]) * wide(s_high[j])
                for j in range(half):
                    back_high[j] = wide(high[j]) * wide(c_high[j]) - wide(low[j]) * wide(s_low[j])
                r, along = inverse[b, h, t], np.float32(0)
                if len(gain):
                    for j in range(size):
                        back[j] *= gain[j]
                    for j in range(size):
                        along += back[j] * wide(row[j])
                    along *= r * r / np.float32(size)
                for j in range(size):
                    target[j] = narrow((back[j] - wide(row[j]) * along) * r, out)
