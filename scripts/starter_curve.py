"""A chart of a few curves as SVG, readable on light and dark pages, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 20, 48
_COLOURS = ("#d9480f", "#1971c2", "#2f9e44")
_TICKS = 6


@dataclass(frozen=True)
class Curve:
    """Points `(x, y)` with a name."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def draw(curves: Sequence[Curve], x_title: str, y_title: str) -> str:
    """The curves in one chart. The start of training is cut off, so that the end can be told apart."""
    xs = [x for curve in curves for x in curve.x]
    # The first point is before training; the second highest sets the scale.
    ys = [y for curve in curves for y in (curve.y[1:] or curve.y)]
    x_ticks, y_ticks = _ticks(0, max(xs)), _ticks(min(ys), max(ys))
    left, right, low, high = 0.0, max(xs), y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - left) / max(right - left, 1e-9) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (high - y) / max(high - low, 1e-9) * (_HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(down, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="sans-serif" font-size="13" fill="#868e96">',
        f"<title>{escape(y_title)}</title>",
    ]
    for tick in y_ticks:
        x, y = place(left, tick)
        parts.append(f'<path d="M{x} {y}H{_WIDTH - _RIGHT}" stroke="#868e96" stroke-opacity=".3"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in (t for t in x_ticks if t <= right):
        x, _ = place(tick, low)
        label = f"{tick / 1e6:g} M" if right >= 1e6 else f"{tick:g}"
        parts.append(f'<text x="{x}" y="{_HEIGHT - 28}" text-anchor="middle">{label}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>'
    )
    parts.append(f'<text x="{_LEFT}" y="13">{escape(y_title)}</text>')
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [place(x, y) for x, y in zip(curve.x, curve.y, strict=True) if y <= high]
        line = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points]
        at = _TOP + 20 + 20 * number
        parts.append(
            f'<text x="{_WIDTH - _RIGHT - 8}" y="{at}" text-anchor="end" fill="{colour}">'
            f"{escape(curve.name)} ({curve.y[-1]:.3f})</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below `low` to above `high`."""
    raw = max(high - low, 1e-9) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * i, 10) for i in range(first, last + 1)]
