"""The audit log: who did what, and when. Rows are only added; old ones go by the chosen retention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from kajiya.server.access import clock
from kajiya.store.database import Database
from kajiya.store.tables import AUDIT


@dataclass(frozen=True)
class Entry:
    """One thing that was done. `at` is ISO 8601 in UTC; `action` is `job.started`, `key.revoked`, …"""

    id: int
    at: str
    who: str
    action: str
    subject: str
    detail: dict[str, Any]


class Audit:
    """The table of the log. Safe between threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, who: str, action: str, subject: str = "", **detail: Any) -> None:
        """Write down that `who` did `action` to `subject`; never put a secret into `detail`."""
        values = {"who": who, "action": action, "subject": subject, "detail": detail}
        with self._database.write() as connection:
            connection.execute(insert(AUDIT).values(at=clock.moment(clock.now()), **values))

    def entries(
        self,
        *,
        who: str = "",
        action: str = "",
        since: str = "",
        until: str = "",
        before: int = 0,
        limit: int | None = None,
    ) -> list[Entry]:
        """The newest first; moments as in `at`, `until` not included, `action` a beginning such as `key.`."""
        query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
        if who:
            query = query.where(AUDIT.c.who == who)
        if action:
            query = query.where(AUDIT.c.action.startswith(action, autoescape=True))
        if since:
            query = query.where(AUDIT.c.at >= since)
        if until:
            query = query.where(AUDIT.c.at < until)
        if before:
            query = query.where(AUDIT.c.id < before)
        with self._database.read() as connection:
            return [Entry(**row) for row in connection.execute(query).mappings()]

    def names(self) -> list[str]:
        """Everybody who is in the log."""
        with self._database.read() as connection:
            query = select(AUDIT.c.who).distinct().order_by(AUDIT.c.who)
            return list(connection.execute(query).scalars())

    def forget(self, before: str) -> int:
        """Remove what is older than a moment; how many rows that were."""
        with self._database.write() as connection:
            return connection.execute(delete(AUDIT).where(AUDIT.c.at < before)).rowcount
