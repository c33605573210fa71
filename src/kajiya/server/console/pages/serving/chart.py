"""Bars of a few series on top of each other, as SVG without styles of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 900, 260, 64, 28, 12


@dataclass(frozen=True)
class Bars:
    """A number of each series for each label."""

    title: str
    labels: Sequence[str]
    series: Sequence[tuple[str, Sequence[int]]]


def bars_svg(bars: Bars) -> str:
    """The picture; `series-0` and on are the classes of the bars."""
    size = {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "class": "bars", "role": "img"}
    svg = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size})
    ElementTree.SubElement(svg, "title").text = _words(bars.title)
    sums = [sum(values) for values in zip(*(numbers for _, numbers in bars.series), strict=True)]
    top = _round_up(max(sums, default=0) or 1)
    room = _HEIGHT - _BOTTOM - _TOP
    for share in (0.0, 0.5, 1.0):
        y = _HEIGHT - _BOTTOM - share * room
        line = {"x1": str(_LEFT), "x2": str(_WIDTH), "y1": f"{y:g}", "y2": f"{y:g}"}
        ElementTree.SubElement(svg, "line", line)
        _text(svg, f"{top * share:,.0f}", _LEFT - 8, y + 4, "end")
    step = (_WIDTH - _LEFT) / len(bars.labels)
    for at, label in enumerate(bars.labels):
        x, y = _LEFT + at * step, float(_HEIGHT - _BOTTOM)
        group = ElementTree.SubElement(svg, "g")
        total = f"{label}: {sums[at]:,}" if sums else label
        ElementTree.SubElement(group, "title").text = _words(total)
        for number, (_, values) in enumerate(bars.series):
            height = values[at] / top * room
            if height:
                y -= height
                place = {
                    "x": f"{x + step * 0.1:.2f}",
                    "y": f"{y:.2f}",
                    "width": f"{step * 0.8:.2f}",
                }
                shape = {**place, "height": f"{height:.2f}", "class": f"series-{number}"}
                ElementTree.SubElement(group, "rect", shape)
        if at % max(1, len(bars.labels) // 6) == 0:
            _text(svg, label[5:], x, _HEIGHT - 8, "start")
    return ElementTree.tostring(svg, encoding="unicode")


def _text(svg: ElementTree.Element, words: str, x: float, y: float, anchor: str) -> None:
    place = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor}
    ElementTree.SubElement(svg, "text", place).text = _words(words)


def _round_up(number: int) -> int:
    """The next of 1, 2, 5, 10, 20, …"""
    scale: int = 10 ** (len(str(number)) - 1)
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= number)


def _words(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
