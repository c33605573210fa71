"""The ledger: a row for every call, in the database before the engine is asked.

One thread writes for everybody and commits what has come together, so hundreds of streams cost a few
transactions a second and the event loop never waits for a disk. A row's id is made here, and a row is
only ever brought to a later state, so nothing that is tried again counts twice.

What is lost when everything is killed: the tokens of running answers since they were last noted. Those
rows are closed as `interrupted` by whoever opens the ledger next; if the server was alive after all,
its own last word still wins.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from kajiya.core.errors import KajiyaError
from kajiya.server.access import clock
from kajiya.store.database import Database
from kajiya.store.tables import USAGE

Status = Literal["running", "ok", "error", "cancelled", "interrupted"]
_NOTE_SECONDS = 5.0  # how often the tokens of running answers are written down
_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 15.0
log = logging.getLogger("kajiya.server")


class LedgerError(KajiyaError):
    """Nothing can be written at the moment, so the call must not be made."""

    code = "ledger"


class OverBudgetError(KajiyaError):
    """The key has used up what it may use in this period."""

    code = "over_budget"


class Budget(NamedTuple):
    """Tokens that a key may use from one day to another, which is not included any more."""

    tokens: int
    first_day: str
    next_day: str


class Progress(NamedTuple):
    """What is known of a call so far."""

    status: Status = "running"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    error: str | None = None


_UPDATE = (
    update(USAGE)
    .where(USAGE.c.id == bindparam("row"))
    .values({name: bindparam(f"new_{name}") for name in Progress._fields})
)


@dataclass(frozen=True)
class _Beginning:
    row: dict[str, str]
    budget: Budget | None
    done: Future[None] = field(default_factory=Future)


class Ledger:
    """The ledger of one server. `begin`, `follow` and `end` are for the event loop's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._server = secrets.token_hex(8)
        self._life = ExitStack()
        self._show_life()
        close_interrupted(database)
        self._wake = threading.Condition()
        self._beginnings: list[_Beginning] = []
        self._running: dict[str, Callable[[], Progress]] = {}
        self._ends: dict[str, Progress] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    async def begin(self, key_id: str, model: str, budget: Budget | None = None) -> str:
        """The id of a new row, which is in the database when this returns.

        Raises `OverBudgetError`, or `LedgerError` if it cannot be written.
        """
        when = clock.now()
        row = {
            "id": secrets.token_hex(16),
            "key_id": key_id,
            "model": model,
            "day": when.date().isoformat(),
            "started_at": clock.moment(when),
            "server": self._server,
        }
        beginning = _Beginning(row, budget)
        with self._wake:
            if self._closing:
                raise LedgerError("closed")
            self._beginnings.append(beginning)
            self._wake.notify()
        try:
            await asyncio.wrap_future(beginning.done)
        except asyncio.CancelledError:
            self.end(row["id"], Progress("cancelled"))  # it may have been written all the same
            raise
        return row["id"]

    def follow(self, row: str, progress: Callable[[], Progress]) -> None:
        """Write down every few seconds what a running call says of itself, until it ends."""
        with self._wake:
            self._running[row] = progress

    def end(self, row: str, progress: Progress) -> None:
        """The last word on a call; kept and tried again until it is written."""
        with self._wake:
            self._running.pop(row, None)
            self._ends[row] = progress
            self._wake.notify()

    def close(self) -> None:
        """Write what is left, for a while; blocks."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(_CLOSE_SECONDS)
        if self._ends:
            log.error("the usage of %d calls could not be written down whole", len(self._ends))
        self._life.close()

    def _work(self) -> None:
        notes_due = time.monotonic() + _NOTE_SECONDS
        while True:
            with self._wake:
                self._wake.wait_for(self._has_work, max(0.0, notes_due - time.monotonic()))
                beginnings, self._beginnings = self._beginnings, []
                ends, self._ends = self._ends, {}
                closing = self._closing
                running: dict[str, Callable[[], Progress]] = {}
                due = time.monotonic() >= notes_due
                # A budget is compared with what is written, so that must be up to date.
                if due or closing or any(one.budget for one in beginnings):
                    running = dict(self._running)
            if due:
                notes_due = time.monotonic() + _NOTE_SECONDS
            beginnings = [one for one in beginnings if one.done.set_running_or_notify_cancel()]
            try:
                if due:
                    self._show_life()
                over = self._write(
                    beginnings, {row: tell() for row, tell in running.items()} | ends
                )
            except Exception as error:
                self._failed(error, beginnings, ends)
                continue
            for one in beginnings:
                if one.row["id"] in over:
                    one.done.set_exception(OverBudgetError("over budget"))
                else:
                    one.done.set_result(None)
            if closing:
                return

    def _show_life(self) -> None:
        """Put up the sign of life; again, should the database have closed the connection it hung on."""
        if not self._database.marks.is_held(self._server):
            self._life.enter_context(self._database.marks.held(self._server))

    def _has_work(self) -> bool:
        return bool(self._beginnings or self._ends or self._closing)

    def _write(
        self, beginnings: Sequence[_Beginning], progress: Mapping[str, Progress]
    ) -> set[str]:
        """One transaction; returns the rows that were left out for want of budget."""
        over: set[str] = set()
        if not beginnings and not progress:
            return over
        with self._database.write() as connection:
            if progress:
                connection.execute(_UPDATE, [_columns(*item) for item in progress.items()])
            spent: dict[str, int] = {}
            for one in beginnings:
                key = one.row["key_id"]
                if one.budget and key not in spent:
                    spent[key] = _spent(connection, key, one.budget)
                if one.budget and spent[key] >= one.budget.tokens:
                    over.add(one.row["id"])
            rows = [one.row for one in beginnings if one.row["id"] not in over]
            if rows:
                connection.execute(insert(USAGE), [row | Progress()._asdict() for row in rows])
        return over

    def _failed(
        self, error: Exception, beginnings: Sequence[_Beginning], ends: dict[str, Progress]
    ) -> None:
        log.error("usage cannot be written down: %s", getattr(error, "orig", error))
        with self._wake:
            self._ends = ends | self._ends
        for one in beginnings:
            one.done.set_exception(LedgerError(str(error)))
        time.sleep(_RETRY_SECONDS)


def close_interrupted(database: Database) -> None:
    """Close the rows of servers that are gone."""
    running = USAGE.c.status == "running"
    with database.read() as connection:
        servers = connection.execute(select(USAGE.c.server).where(running).distinct()).scalars()
        dead = [server for server in servers if not database.marks.is_held(server)]
    if dead:
        with database.write() as connection:
            connection.execute(
                update(USAGE).where(running, USAGE.c.server.in_(dead)).values(status="interrupted")
            )
    for server in dead:
        database.marks.forget(server)


def _spent(connection: Connection, key_id: str, budget: Budget) -> int:
    query = select(
        func.coalesce(func.sum(USAGE.c.prompt_tokens + USAGE.c.completion_tokens), 0)
    ).where(
        USAGE.c.key_id == key_id, USAGE.c.day >= budget.first_day, USAGE.c.day < budget.next_day
    )
    return int(connection.execute(query).scalar_one())


def _columns(row: str, progress: Progress) -> dict[str, object]:
    return {"row": row, **{f"new_{name}": value for name, value in progress._asdict().items()}}
