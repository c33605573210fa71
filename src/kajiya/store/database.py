"""One database for a workspace: SQLite in a file, or any other by URL; always at the newest version.

Opening a database brings it up to date. Nothing here knows what the tables mean.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from kajiya.core.errors import ConflictError, FormatError, ResourceError
from kajiya.core.language import tr
from kajiya.core.locks import locked

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_MILLISECONDS = 30_000


class Database:
    """Transactions on one database. Safe between threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open_file(cls, path: Path) -> Database:
        """Open (or make) the SQLite file `path`, readable by its owner only, and upgrade it.

        Raises `FormatError` if it is damaged or no database, `ConflictError` if a newer Kajiya made
        it, and `ResourceError` if it cannot be written.
        """
        with _explained(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
                    os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
            engine = _sqlite_engine(path)
            if _needs_upgrade(engine, str(path)):
                # Several processes may find the same old file: the first upgrades, the others look again.
                with locked(path.with_name(f".{path.name}.lock")):
                    if _needs_upgrade(engine, str(path)):
                        _upgrade(engine)
        return cls(engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; it is undone if the block raises."""
        with self._engine.connect() as connection:
            connection = connection.execution_options(kajiya_write=True)
            with connection.begin():
                yield connection


def _sqlite_engine(path: Path) -> Engine:
    # No pool: a connection costs a millisecond, and none is left open over a fork or an exit.
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own would end transactions around DDL
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once if another wrote meanwhile,
        # whatever the busy timeout; one that says so from the start waits for its turn.
        writes = connection.get_execution_options().get("kajiya_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _needs_upgrade(engine: Engine, where: str) -> bool:
    """Compare the database's version with ours, without Alembic (whose import is slow)."""
    known = sorted(
        file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py")
    )
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return True
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if version is not None and version not in known:
        raise ConflictError(
            tr(
                f"the database was made by a newer Kajiya (version {version}; this one knows {known[-1]})",
                f"新しい Kajiya で作られたデータベースです (版 {version}。この Kajiya は {known[-1]} まで)",
            ),
            where=where,
            fix=tr("update Kajiya", "Kajiya を更新してください"),
        )
    return version != known[-1]


def _upgrade(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.connect() as connection:
        connection = connection.execution_options(kajiya_write=True)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OperationalError, OSError) as error:
        reason = error.orig if isinstance(error, OperationalError) else error.strerror
        raise ResourceError(
            tr(f"the database cannot be opened: {reason}", f"データベースを開けません: {reason}"),
            where=str(path),
            fix=tr(
                "check that the disk has space and that the folder is yours",
                "ディスクの空きとフォルダの権限を確かめてください",
            ),
        ) from None
    except DatabaseError as error:
        raise FormatError(
            tr(
                f"the database is damaged: {error.orig}",
                f"データベースが壊れています: {error.orig}",
            ),
            where=str(path),
            fix=tr(
                "move the file away; what lies in the artifacts' folders is found again by itself",
                "このファイルを別の場所へ移してください。成果物はフォルダから自動で登録し直します",
            ),
        ) from None
