"""The ledger: no row lost, none twice, none without its end. On SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import select, text

from kajiya.server.access.ledger import (
    Budget,
    Ledger,
    LedgerError,
    OverBudgetError,
    Progress,
    close_interrupted,
)
from kajiya.server.access.usage import last_days, used
from kajiya.store.database import Database
from kajiya.store.tables import USAGE
from support.postgres import PostgresServer
from support.waiting import until, wait_until

ALWAYS = ("0000", "9999")


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    made = Ledger(database)
    yield made
    made.close()


def rows(database: Database) -> dict[str, dict[str, Any]]:
    with database.read() as connection:
        return {row["id"]: dict(row) for row in connection.execute(select(USAGE)).mappings()}


@contextmanager
def unwritable(database: Database) -> Iterator[None]:
    """Another program holds the table and does not let go."""
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE usage"))
        yield


async def test_a_row_is_there_before_the_engine_is_asked(
    ledger: Ledger, database: Database
) -> None:
    row = await ledger.begin("key-1", "m" * 4000)
    (written,) = rows(database).values()
    assert (written["id"], written["status"], written["model"]) == (row, "running", "m" * 4000)
    ledger.end(row, Progress("error", 3, 4, 1.5, "engine_unavailable"))
    await until(lambda: rows(database)[row]["status"] == "error")
    expected = {"prompt_tokens": 3, "completion_tokens": 4, "seconds": 1.5}
    assert rows(database)[row].items() >= {**expected, "error": "engine_unavailable"}.items()


async def test_hundreds_at_once(ledger: Ledger, database: Database) -> None:
    begun = await asyncio.gather(*(ledger.begin(f"key-{n % 3}", "m") for n in range(600)))
    assert len(set(begun)) == 600
    for row in begun:
        ledger.end(row, Progress("ok", 2, 3))
    ledger.close()
    (total,) = used(database, ())
    assert (total.requests, total.running, total.total_tokens) == (600, 0, 3000)


async def test_running_answers_are_noted(ledger: Ledger, database: Database) -> None:
    row = await ledger.begin("key-1", "m")
    ledger.follow(row, lambda: Progress("running", 10, 20))
    # A call whose budget is looked at has everything written down first.
    await ledger.begin("key-2", "m", Budget(1, *ALWAYS))
    assert rows(database)[row]["completion_tokens"] == 20
    ledger.end(row, Progress("ok", 10, 30))
    ledger.close()
    assert rows(database)[row]["completion_tokens"] == 30


async def test_a_budget_counts_what_is_being_written(ledger: Ledger) -> None:
    budget = Budget(100, *ALWAYS)
    row = await ledger.begin("key-1", "m", budget)
    ledger.follow(row, lambda: Progress("running", 60, 39))
    await ledger.begin("key-1", "m", budget)
    ledger.follow(row, lambda: Progress("running", 60, 40))
    with pytest.raises(OverBudgetError):
        await ledger.begin("key-1", "m", budget)
    await ledger.begin("key-1", "m", Budget(101, *ALWAYS))
    await ledger.begin("key-1", "m", Budget(100, "9998-01-01", "9999-01-01"))
    await ledger.begin("key-2", "m", budget)


async def test_while_nothing_can_be_written_calls_are_refused_and_ends_are_kept(
    ledger: Ledger, database: Database
) -> None:
    row = await ledger.begin("key-1", "m")
    with unwritable(database):
        ledger.end(row, Progress("ok", 5, 6))
        with pytest.raises(LedgerError):
            await ledger.begin("key-1", "m")
    await until(lambda: rows(database)[row]["status"] == "ok")
    assert [row["completion_tokens"] for row in rows(database).values()] == [6]
    await ledger.begin("key-1", "m")


async def test_who_leaves_while_waiting_leaves_no_running_row(
    ledger: Ledger, database: Database
) -> None:
    with unwritable(database):
        waiting = [asyncio.create_task(ledger.begin("key-1", "m")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    await ledger.begin("key-2", "m")
    ledger.close()
    assert {r["status"] for r in rows(database).values() if r["key_id"] == "key-1"} <= {"cancelled"}


async def test_a_database_server_that_hangs_up(
    postgres: PostgresServer, postgres_template: str
) -> None:
    name = postgres.new_database(postgres_template)
    database = Database.open_url(postgres.url(name), keep_connections=True)
    ledger = Ledger(database)
    first = await ledger.begin("key-1", "m")
    postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    second = await ledger.begin("key-1", "m")
    for row in (first, second):
        ledger.end(row, Progress("ok", 1, 2))
    third = await ledger.begin("key-1", "m")
    await until(lambda: rows(database)[second]["status"] == "ok")
    await until(lambda: len(held_locks(database)) == 1)  # its sign of life is up again
    close_interrupted(database)
    states = {id: row["status"] for id, row in rows(database).items()}
    assert states == {first: "ok", second: "ok", third: "running"}
    ledger.close()
    await until(lambda: held_locks(database) == [])
    database.close()


def held_locks(database: Database) -> list[int]:
    query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    with database.read() as connection:
        return list(connection.execute(text(query)).scalars())


CHILD = """
import asyncio, sys
from kajiya.server.access.ledger import Ledger, Progress
from kajiya.store.database import Database

async def main():
    ledger = Ledger(Database.open_url(sys.argv[1]))
    row = await ledger.begin("key-1", "m")
    ledger.follow(row, lambda: Progress("running", 7, 8))
    print(row, flush=True)
    for line in sys.stdin:
        if line == "end\\n":
            ledger.end(row, Progress("ok", 7, 9))
            ledger.close()
            print("closed", flush=True)

asyncio.run(main())
"""


@contextmanager
def other_server(url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_rows_of_a_killed_server_are_closed_once_and_those_of_a_living_one_are_not(
    database: Database, database_url: str
) -> None:
    with (
        other_server(database_url) as (process, row),
        other_server(database_url) as (alive, second),
    ):
        wait_until(lambda: rows(database)[row]["completion_tokens"] == 8)  # noted by and by
        process.kill()
        process.wait()
        wait_until(lambda: _closed(database, row))
        assert rows(database)[row]["completion_tokens"] == 8
        assert rows(database)[second]["status"] == "running"
        close_interrupted(database)
        assert rows(database)[second]["status"] == "running"
        assert alive.stdin and alive.stdout
        alive.stdin.write("end\n")
        alive.stdin.flush()
        assert alive.stdout.readline() == "closed\n"
        assert rows(database)[second]["status"] == "ok"
        assert rows(database)[second]["completion_tokens"] == 9
        assert rows(database)[row]["status"] == "interrupted"


def _closed(database: Database, row: str) -> bool:
    close_interrupted(database)
    return bool(rows(database)[row]["status"] == "interrupted")


async def test_the_last_word_of_a_server_thought_dead_wins(
    ledger: Ledger, database: Database
) -> None:
    row = await ledger.begin("key-1", "m")
    with database.write() as connection:
        connection.execute(USAGE.update().values(status="interrupted"))
    ledger.end(row, Progress("ok", 1, 2))
    await until(lambda: rows(database)[row]["status"] == "ok")
    assert len(rows(database)) == 1


async def test_sums(ledger: Ledger, database: Database) -> None:
    plan: list[tuple[str, str, Any]] = [
        ("a", "m", Progress("ok", 1, 2)),
        ("a", "m", Progress("error", 4, 0)),
        ("a", "n", Progress("cancelled", 8, 16)),
        ("b", "m", Progress("ok", 32, 64)),
    ]
    for key, model, progress in plan:
        ledger.end(await ledger.begin(key, model), progress)
    await ledger.begin("b", "n")
    ledger.close()
    (day,) = {row["day"] for row in rows(database).values()}

    def sums(*by: Any, **only: Any) -> list[tuple[Any, ...]]:
        return [tuple(asdict(row).values()) for row in used(database, by, **only)]

    assert sums("day", "key", "model") == [
        (day, "a", "m", 2, 1, 0, 0, 0, 5, 2),
        (day, "a", "n", 1, 0, 1, 0, 0, 8, 16),
        (day, "b", "m", 1, 0, 0, 0, 0, 32, 64),
        (day, "b", "n", 1, 0, 0, 0, 1, 0, 0),
    ]
    assert sums("model") == [
        ("", "", "m", 3, 1, 0, 0, 0, 37, 66),
        ("", "", "n", 2, 0, 1, 0, 1, 8, 16),
    ]
    assert sums(key="a", model="m") == [("", "", "", 2, 1, 0, 0, 0, 5, 2)]
    assert sums(since=day, until=day) == sums()
    assert sums(since="9999-01-01") == sums(until="1999-01-01") == sums(key="c") == []
    assert last_days(database) == {"a": day, "b": day}
