"""What was used: the ledger's rows added up by day, key and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import case, func, select

from kajiya.store.database import Database
from kajiya.store.tables import USAGE

Dimension = Literal["day", "key", "model"]
_NUMBERS = (
    "requests",
    "errors",
    "cancelled",
    "interrupted",
    "running",
    "prompt_tokens",
    "completion_tokens",
)
_COLUMNS = {"day": USAGE.c.day, "key": USAGE.c.key_id, "model": USAGE.c.model}


@dataclass(frozen=True)
class Used:
    """A sum of calls. `day`, `key` (an id) and `model` are empty where they were added up.

    Calls that were cancelled by their client, failed, or were cut off by the server's own death are
    among `requests`, and so are those still running; the tokens they used are counted.
    """

    day: str
    key: str
    model: str
    requests: int
    errors: int
    cancelled: int
    interrupted: int
    running: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def used(
    database: Database,
    by: Sequence[Dimension] = ("day", "key", "model"),
    *,
    key: str | None = None,
    model: str | None = None,
    since: str = "",
    until: str = "",
) -> list[Used]:
    """The sums, in the order of `by`; only of one key (an id), one model, and days from `since` to `until`."""
    counts = [
        func.sum(case((USAGE.c.status == status, 1), else_=0))
        for status in ("error", "cancelled", "interrupted", "running")
    ]
    tokens = [func.sum(USAGE.c.prompt_tokens), func.sum(USAGE.c.completion_tokens)]
    columns = [_COLUMNS[name] for name in by]
    query = select(*columns, func.count(), *counts, *tokens).group_by(*columns).order_by(*columns)
    if key is not None:
        query = query.where(USAGE.c.key_id == key)
    if model is not None:
        query = query.where(USAGE.c.model == model)
    if since:
        query = query.where(USAGE.c.day >= since)
    if until:
        query = query.where(USAGE.c.day <= until)
    with database.read() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    found = []
    for row in rows:
        sums = [int(number or 0) for number in row[len(by) :]]
        values: dict[str, Any] = {
            **dict.fromkeys(_COLUMNS, ""),
            **dict(zip(by, row, strict=False)),
            **dict(zip(_NUMBERS, sums, strict=True)),
        }
        if sums[0]:  # a sum over nothing at all is a row of nothing
            found.append(Used(**values))
    return found


def last_days(database: Database) -> dict[str, str]:
    """The last day on which each key (by id) was used."""
    query = select(USAGE.c.key_id, func.max(USAGE.c.day)).group_by(USAGE.c.key_id)
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}
