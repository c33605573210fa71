"""Preferences as data sets: pairs and ratings for preference training, corrections for tuning, a table.

The JSON lines have the columns that trainers of preferences take (`prompt`, `chosen`, `rejected`, or
`completion` and `label`); those of corrections have `messages`, as the Easy Trainer reads them. The
table is for a spreadsheet, so no cell of it can be a formula.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from kajiya.server.chats.preferences import Preference

Form = Literal["pairs", "ratings", "corrections", "table"]
FILES: Mapping[Form, str] = {
    "pairs": "preference-pairs.jsonl",
    "ratings": "ratings.jsonl",
    "corrections": "corrections.jsonl",
    "table": "preferences.csv",
}
_COLUMNS = (
    *("id", "kind", "verdict", "user", "created_at", "question", "answer", "model"),
    *("other_answer", "other_model", "conversation"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def export(
    preferences: Iterable[Preference], form: Form, names: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The lines of a file in this form; `names` are people's names by their ids."""
    people = names or {}
    if form == "table":
        return _table(preferences, people)
    made = {"pairs": _pairs, "ratings": _ratings, "corrections": _corrections}[form]
    return (
        json.dumps(row | _about(preference, people), ensure_ascii=False) + "\n"
        for preference in preferences
        for row in made(preference)
    )


def _pairs(preference: Preference) -> Iterator[dict[str, Any]]:
    """A correction is better than what it corrects; a tie teaches nothing."""
    first, second = _said(preference.answer), _said(preference.other_answer or "")
    models = _model(preference.made_by), _model(preference.other_made_by)
    if preference.kind == "correction" or (preference.kind, preference.verdict) == (
        "comparison",
        "b",
    ):
        first, second, models = second, first, models[::-1]
    elif (preference.kind, preference.verdict) != ("comparison", "a"):
        return
    yield {
        "prompt": list(preference.prompt),
        "chosen": first,
        "rejected": second,
        "chosen_model": models[0],
        "rejected_model": models[1],
    }


def _ratings(preference: Preference) -> Iterator[dict[str, Any]]:
    if preference.kind == "rating":
        yield {
            "prompt": list(preference.prompt),
            "completion": _said(preference.answer),
            "label": preference.verdict == "up",
            "model": _model(preference.made_by),
        }


def _corrections(preference: Preference) -> Iterator[dict[str, Any]]:
    if preference.kind == "correction":
        yield {"messages": [*preference.prompt, *_said(preference.other_answer or "")]}


def _table(preferences: Iterable[Preference], people: Mapping[str, str]) -> Iterator[str]:
    yield "\ufeff" + _line(_COLUMNS)  # spreadsheets know UTF-8 by its mark
    for one in preferences:
        asked = next((turn["content"] for turn in reversed(one.prompt)), "")
        yield _line(
            (
                *(one.id, one.kind, one.verdict, people.get(one.user_id, one.user_id)),
                *(one.created_at, asked, one.answer, _model(one.made_by)),
                *(one.other_answer or "", _model(one.other_made_by)),
                json.dumps(one.prompt, ensure_ascii=False),
            )
        )


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(map(_safe, cells))
    return text.getvalue()


def _safe(cell: str) -> str:
    """A cell that a spreadsheet takes for text; the apostrophe is how one says so."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _model(made_by: Mapping[str, Any] | None) -> str:
    return str((made_by or {}).get("model", ""))


def _about(preference: Preference, people: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": preference.id,
        "user": people.get(preference.user_id, preference.user_id),
        "created_at": preference.created_at,
        "made_by": preference.made_by,
        "other_made_by": preference.other_made_by,
    }
