"""A lineage as a picture: each artifact a box, and lines up to what it was made from.

Plain SVG without styles of its own: shapes have classes, and words of artifacts are text that cannot
become anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from kajiya.core.language import tr
from kajiya.store.lineage import LineageNode
from kajiya.store.words import kind_words, role_words

_WIDTH, _HEIGHT = 200, 64  # of a box
_BESIDE, _ABOVE = 24, 48  # room between boxes
_PADDING = 12
_LONGEST = 25  # letters of a name that fit into a box; wide ones count twice
_SPACE = "http://www.w3.org/2000/svg"
Link = Callable[[LineageNode], str | None]


@dataclass
class _Box:
    """A node with its place: `column` counts boxes from the left, `row` from the bottom."""

    node: LineageNode
    column: float
    row: int
    parents: list[_Box]

    def all(self) -> Iterator[_Box]:
        yield self
        for parent in self.parents:
            yield from parent.all()


def lineage_svg(lineage: LineageNode, link: Link = lambda node: None) -> str:
    """The picture; what `link` gives for a node is where its box leads."""
    columns, root = _placed(lineage, 0, 0)
    boxes = list(root.all())
    rows = 1 + max(box.row for box in boxes)
    width = columns * (_WIDTH + _BESIDE) - _BESIDE + 2 * _PADDING
    height = rows * (_HEIGHT + _ABOVE) - _ABOVE + 2 * _PADDING
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": _SPACE,
            "class": "lineage",
            "role": "group",  # a picture could hold no links
            "viewBox": f"0 0 {width} {height}",
            "width": str(width),
            "height": str(height),
        },
    )
    name = _printable(lineage.reference)
    ElementTree.SubElement(svg, "title").text = tr(f"What {name} was made from", f"{name} の来歴")

    def corner(box: _Box) -> tuple[float, float]:
        x = _PADDING + box.column * (_WIDTH + _BESIDE)
        return x, _PADDING + (rows - 1 - box.row) * (_HEIGHT + _ABOVE)

    for box in boxes:
        for parent in box.parents:
            _line(svg, corner(parent), corner(box))
    for box in boxes:
        _draw(svg, box.node, corner(box), link(box.node))
    return ElementTree.tostring(svg, encoding="unicode")


def _placed(node: LineageNode, column: int, row: int) -> tuple[int, _Box]:
    """How many columns a tree takes from `column` on, and its boxes: a child in the middle of its parents."""
    parents: list[_Box] = []
    taken = 0
    for parent in node.parents:
        columns, box = _placed(parent, column + taken, row + 1)
        taken += columns
        parents.append(box)
    middle = (parents[0].column + parents[-1].column) / 2 if parents else float(column)
    return max(taken, 1), _Box(node, middle, row, parents)


def _line(svg: ElementTree.Element, upper: tuple[float, float], lower: tuple[float, float]) -> None:
    x1, y1 = upper[0] + _WIDTH / 2, upper[1] + _HEIGHT
    x2, y2 = lower[0] + _WIDTH / 2, lower[1]
    middle = (y1 + y2) / 2
    path = f"M{x1:g} {y1:g}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
    ElementTree.SubElement(svg, "path", {"class": "line", "fill": "none", "d": path})


def _draw(
    svg: ElementTree.Element, node: LineageNode, corner: tuple[float, float], link: str | None
) -> None:
    place = ElementTree.SubElement(svg, "a", {"href": link}) if link else svg
    group = ElementTree.SubElement(place, "g", {"class": f"box {node.state}"})
    x, y = corner
    shape = {"x": f"{x:g}", "y": f"{y:g}", "width": str(_WIDTH), "height": str(_HEIGHT), "rx": "8"}
    ElementTree.SubElement(group, "rect", shape)
    state = {
        "present": "",
        "missing": tr(" (removed)", "(削除済み)"),
        "changed": tr(" (replaced)", "(別のもの)"),
    }[node.state]
    said = ": ".join(part for part in (role_words(node.role), kind_words(node.kind)) if part)
    for text, down, kind in ((f"{said}{state}", 24, "kind"), (node.reference, 46, "name")):
        words = ElementTree.SubElement(
            group, "text", {"class": kind, "x": f"{x + 14:g}", "y": f"{y + down:g}"}
        )
        words.text = _short(text)
    whole = _printable(f"{said} {node.reference}{state}")
    ElementTree.SubElement(group, "title").text = whole


def _short(text: str) -> str:
    printable = _printable(text)
    room = float(_LONGEST)
    for index, letter in enumerate(printable):
        room -= 1 if ord(letter) < 0x1100 else 2
        if room < 0:
            return printable[: max(0, index - 1)] + "…"
    return printable


def _printable(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
