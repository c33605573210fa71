"""The database: brought up to date once, private, and clear about what is wrong with it."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from kajiya.core.errors import ConfigError, ConflictError, FormatError, ResourceError
from kajiya.store.database import Database
from kajiya.store.tables import ARTIFACT_PARENTS, METADATA
from support.waiting import wait_until

ARTIFACT = (
    "INSERT INTO artifacts (kind, name, version, created_at, manifest_sha256, size) "
    "VALUES ('a', 'b', 1, '', '', 0)"
)


def test_migrations_and_tables_agree(new_url: str) -> None:
    database = Database.open_url(new_url)
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


def test_parents_without_a_child_are_refused(database: Database) -> None:
    row = {"artifact_id": 7, "position": 0, "kind": "", "reference": "", "role": ""}
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(ARTIFACT_PARENTS).values(**row, manifest_sha256=""))


def test_a_database_that_is_up_to_date_opens_without_alembic(database_url: str) -> None:
    code = (
        "import sys; from kajiya.store.database import Database;"
        f"Database.open_url({database_url!r}); print('alembic' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


def test_an_older_database_keeps_what_it_holds(new_url: str) -> None:
    database = Database.open_url(new_url)
    with database.write() as connection:
        connection.execute(text(ARTIFACT))
        for table in reversed(METADATA.sorted_tables):
            if not table.name.startswith("artifact"):
                table.drop(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with Database.open_url(new_url).read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert connection.execute(text("SELECT count(*) FROM artifacts")).scalar() == 1


def test_an_interrupted_upgrade_is_done_again(database_url: str) -> None:
    with Database.open_url(database_url).write() as connection:
        METADATA.drop_all(connection)
        connection.execute(text("DELETE FROM alembic_version"))
    database = Database.open_url(database_url)
    with database.read() as read:
        assert compare_metadata(MigrationContext.configure(read), METADATA) == []


def test_processes_that_open_a_new_database_at_once_all_succeed(new_url: str) -> None:
    code = f"from kajiya.store.database import Database; Database.open_url({new_url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]


def test_a_newer_database_is_refused(database_url: str) -> None:
    with Database.open_url(database_url).write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConflictError, match="newer Kajiya"):
        Database.open_url(database_url)


def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(FormatError, match="damaged"):
        Database.open_file(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be opened"):
        Database.open_file(tmp_path / "no" / "a.db")


def test_a_failed_write_is_undone(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(text(ARTIFACT))
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM artifacts")).scalar() == 0


def test_a_mark_holds_until_its_process_dies(database: Database, database_url: str) -> None:
    code = (
        "import sys; from kajiya.store.database import Database;"
        f"marks = Database.open_url({database_url!r}).marks;"
        "mark = marks.held('here'); mark.__enter__(); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert database.marks.is_held("here")
    assert not database.marks.is_held("there")
    process.kill()
    process.communicate()
    wait_until(lambda: not database.marks.is_held("here"))
    with database.marks.held("here"):
        assert database.marks.is_held("here")
    assert not database.marks.is_held("here")


@pytest.mark.parametrize(
    "url", ["", "nothing", "mysql://u:hidden@h/d", "sqlite://", "sqlite:///:memory:", "http://h"]
)
def test_other_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database.open_url(url)
    assert "hidden" not in str(caught.value)


def test_a_server_that_is_not_there_is_explained_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        Database.open_url(f"postgresql://u:hidden@/d?host={tmp_path}", patience=2)
    assert "check that the server runs" in str(caught.value)
    assert "hidden" not in str(caught.value)
