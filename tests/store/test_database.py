"""The database: brought up to date once, private, and clear about what is wrong with it."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from kajiya.core.errors import ConflictError, FormatError, ResourceError
from kajiya.store.database import Database
from kajiya.store.tables import ARTIFACT_PARENTS, METADATA


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    database = Database.open_file(tmp_path / "a.db")
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_the_file_is_private_even_if_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch(0o644)
    Database.open_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_settings_hold_on_every_connection(tmp_path: Path) -> None:
    database = Database.open_file(tmp_path / "a.db")
    with database.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 30_000
    row = {"artifact_id": 7, "position": 0, "kind": "", "reference": "", "role": ""}
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(ARTIFACT_PARENTS).values(**row, manifest_sha256=""))


def test_a_database_that_is_up_to_date_opens_without_alembic(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Database.open_file(path)
    code = (
        "import sys; from pathlib import Path; from kajiya.store.database import Database;"
        f"Database.open_file(Path({str(path)!r})); print('alembic' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


def test_an_interrupted_upgrade_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Database.open_file(path)
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "DROP TABLE artifact_parents; DROP TABLE artifacts; DELETE FROM alembic_version;"
        )
    connection.close()
    database = Database.open_file(path)
    with database.read() as read:
        assert compare_metadata(MigrationContext.configure(read), METADATA) == []


def test_processes_that_open_a_new_database_at_once_all_succeed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from kajiya.store.database import Database;"
        f"Database.open_file(Path({str(tmp_path / 'a.db')!r}))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Database.open_file(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConflictError, match="newer Kajiya"):
        Database.open_file(path)


def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(FormatError, match="damaged"):
        Database.open_file(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be opened"):
        Database.open_file(tmp_path / "no" / "a.db")


def test_a_failed_write_is_undone(tmp_path: Path) -> None:
    database = Database.open_file(tmp_path / "a.db")
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO artifacts (kind, name, version, created_at, manifest_sha256, size) "
                "VALUES ('a', 'b', 1, '', '', 0)"
            )
        )
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM artifacts")).scalar() == 0
