"""Datasets as files for other programs: CSV for spreadsheets, JSON Lines as it is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from kajiya.data.dataset import read_rows
from kajiya.data.rows import Row
from kajiya.server.console.csv_file import safe_cell

_COLUMNS = ("id", "category", "system", "question", "answer", "key_fact", "messages")


def export_jsonl(folder: Path) -> Iterator[str]:
    """A row a line, nothing changed."""
    for row in read_rows(folder):
        yield json.dumps(asdict(row), ensure_ascii=False) + "\n"


def export_csv(folder: Path) -> Iterator[str]:
    """A table that Excel opens as it should: with a mark for UTF-8, and no cell that it would run.

    Such a cell gets an apostrophe before it, so what must come back unchanged goes out as JSON Lines. A conversation of several turns is JSON in `messages`.
    """
    yield "\ufeff" + _line(_COLUMNS)
    for row in read_rows(folder):
        yield _line(_cells(row))


def _cells(row: Row) -> tuple[str, ...]:
    turns = list(row.messages)
    system = turns.pop(0).content if turns[0].role == "system" else ""
    whole = question = answer = ""
    if len(turns) == 2:
        question, answer = (turn.content for turn in turns)
    else:
        whole = json.dumps([asdict(turn) for turn in row.messages], ensure_ascii=False)
        system = ""
    return row.id, row.category, system, question, answer, row.key_fact, whole


def _line(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([safe_cell(cell) for cell in cells])
    return text.getvalue()
