"""The picture of a lineage holds every artifact once a path, and nothing that a name could smuggle in."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

from kajiya.store.lineage import LineageNode
from kajiya.store.lineage_svg import lineage_svg

SVG = "{http://www.w3.org/2000/svg}"


def node(
    reference: str, *parents: LineageNode, role: str = "", state: str = "present"
) -> LineageNode:
    return LineageNode("model", reference, role, state, None, parents)  # type: ignore[arg-type]


def test_parents_stand_above_and_lines_lead_to_them() -> None:
    base = node("base:1", role="base")
    data = node("faq:2", role="data", state="missing")
    text = lineage_svg(node("company:1", base, data), lambda each: f"/models/{each.reference}")
    svg = ElementTree.fromstring(text)
    boxes = svg.findall(f"{SVG}a")
    assert [box.get("href") for box in boxes] == [
        "/models/company:1",
        "/models/base:1",
        "/models/faq:2",
    ]
    places = [box.find(f"{SVG}g/{SVG}rect") for box in boxes]
    (child, first, second) = [
        (float(p.get("x", 0)), float(p.get("y", 0))) for p in places if p is not None
    ]
    assert first[1] == second[1] < child[1]
    assert first[0] < child[0] < second[0]
    assert len(svg.findall(f"{SVG}path")) == 2
    classes = [group.get("class") for group in svg.iter(f"{SVG}g")]
    assert classes == ["box present", "box present", "box missing"]
    assert "removed" in text
    _, _, width, height = map(float, (svg.get("viewBox") or "").split())
    for x, y in (child, first, second):
        assert 0 <= x <= width - 200
        assert 0 <= y <= height - 64


def test_boxes_of_a_row_never_overlap() -> None:
    deep = node("a:1", node("b:1", node("c:1"), node("d:1")), node("e:1", node("f:1")), node("g:1"))
    svg = ElementTree.fromstring(lineage_svg(deep))
    rows: dict[str, list[float]] = {}
    for rect in svg.iter(f"{SVG}rect"):
        rows.setdefault(rect.get("y", ""), []).append(float(rect.get("x", 0)))
    for places in rows.values():
        places.sort()
        assert all(b - a >= 200 for a, b in itertools.pairwise(places))


def test_words_stay_words() -> None:
    hostile = '</text><script>alert(1)</script>"\x00\x1b'
    text = lineage_svg(node(hostile, node("鍛冶" * 40)))
    svg = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in svg.iter()} <= {
        *("svg", "title", "path", "g", "rect", "text"),
    }
    names = [each.text or "" for each in svg.iter(f"{SVG}text") if each.get("class") == "name"]
    assert all(len(name) <= 26 for name in names)
    assert names[1].endswith("…")
