"""Plots as SVG made here: no script draws them, and they take their colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

_WIDTH, _HALF, _AXIS = 320, 56, 22


def share_bar(parts: Sequence[tuple[str, float]]) -> Markup:
    """A bar of coloured parts: (class, share of the width); what is left stays empty."""
    at, rects = 0.0, []
    for name, share in parts:
        width = max(0.0, min(1.0 - at, share)) * 100
        rects.append(
            Markup('<rect class="{}" x="{:.3f}" width="{:.3f}" height="10"/>').format(
                name, at * 100, width
            )
        )
        at += width / 100
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" width="100" height="10"/>{}</svg>'
    ).format(Markup("").join(rects))


def histogram(facts: dict[str, Any]) -> Markup:
    """Kept documents above the axis and dropped ones below it, each as roots of their share."""
    kept, dropped, edges = facts["kept"], facts["dropped"], facts["edges"]
    step = _WIDTH / len(kept)
    highest = max(_share(max(kept), sum(kept)), _share(max(dropped), sum(dropped)), 1e-9)
    rects = [Markup('<line class="axis" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(_WIDTH, _HALF)]
    for number, (low, high) in enumerate(pairwise(edges)):
        title = f"{short(low)} – {short(high)}: {kept[number]:,} / {dropped[number]:,}"
        rects.append(Markup('<g class="bin"><title>{}</title>').format(title))
        rects.append(
            Markup('<rect class="hit" x="{:.2f}" width="{:.2f}" height="{}"/>').format(
                number * step, step, 2 * _HALF
            )
        )
        for name, values, sign in (("kept", kept, -1), ("dropped", dropped, 1)):
            tall = math.sqrt(_share(values[number], sum(values)) / highest) * (_HALF - 3)
            if tall:
                rects.append(
                    Markup(
                        '<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>'
                    ).format(
                        name,
                        number * step + 0.5,
                        _HALF - tall - 0.5 if sign < 0 else _HALF + 0.5,
                        step - 1,
                        max(tall, 0.8),
                    )
                )
        rects.append(Markup("</g>"))
    return Markup(
        '<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>'
    ).format(_WIDTH, 2 * _HALF + _AXIS, facts["name"], Markup("").join(rects), _ticks(edges))


def short(number: float) -> str:
    """A number in few characters: `0.35`, `12`, `3.4k`, `1.2M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            scale = 1e3 if letter == "k" else size
            return f"{number / scale:.3g}{letter}"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) >= 1e-3 or not number else f"{number:.6f}".rstrip("0")


def _share(value: float, total: float) -> float:
    return value / total if total else 0.0


def _ticks(edges: Sequence[float]) -> Markup:
    middle = len(edges) // 2
    places = (
        ("start", 0.0, edges[0]),
        ("middle", _WIDTH * middle / (len(edges) - 1), edges[middle]),
        ("end", float(_WIDTH), edges[-1]),
    )
    return Markup("").join(
        Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            x, 2 * _HALF + 15, anchor, escape(short(value))
        )
        for anchor, x, value in places
    )
