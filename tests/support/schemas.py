"""Fifty JSON schemas whose documents are short: kinds of values, nested, optional, listed, one of several."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "maxLength": 8}
NUMBER = {"type": "integer", "minimum": -99, "maximum": 999}
FLAG = {"type": "boolean"}
CHOICE = {"enum": ["東京", "大阪", 3, None]}
DATE = {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9])$"}
CODE = {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}
CONST = {"const": "確認済み"}
_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("件名", TEXT),
    ("count", NUMBER),
    ("済", FLAG),
    ("場所", CHOICE),
    ("date", DATE),
    ("code", CODE),
    ("状態", CONST),
)


def record(*names: str, required: bool = True) -> dict[str, Any]:
    """An object with the named fields and no others."""
    known = dict(_KINDS)
    return {
        "type": "object",
        "properties": {name: known[name] for name in names},
        "required": list(names) if required else [],
        "additionalProperties": False,
    }


def schemas() -> list[dict[str, Any]]:
    """All fifty, each different."""
    names = [name for name, _ in _KINDS]
    found: list[dict[str, Any]] = [record(name) for name in names]
    found += [record(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    found += [record(*names), record(*names, required=False)]
    found += [record(name, required=False) for name in names]
    found += [{"type": "array", "items": kind, "minItems": 1, "maxItems": 3} for _, kind in _KINDS]
    found += [
        {"type": "array", "items": record("件名", "count"), "minItems": 2, "maxItems": 2},
        {"anyOf": [record("date"), record("code"), {"type": "null"}]},
        {
            "type": "object",
            "properties": {"会社": record("件名", "code"), "発表": record("date", "済")},
            "required": ["会社", "発表"],
            "additionalProperties": False,
        },
        {
            "$defs": {"人": record("件名")},
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/人"}, "b": {"$ref": "#/$defs/人"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
        {"type": ["string", "null"], "maxLength": 5},
        {"type": "number", "minimum": 0, "maximum": 1},
    ]
    return found
