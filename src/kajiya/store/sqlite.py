"""SQLite as a database of ours: a private file, write-ahead log, real transactions."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from kajiya.core.errors import FormatError, ResourceError
from kajiya.core.language import tr
from kajiya.core.locks import is_locked, locked


def open_engine(path: Path, patience: float, keep_connections: bool) -> Engine:
    """An engine for the file `path`, which is made if missing and closed to everybody else.

    A writer waits `patience` seconds for another's transaction to end.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    # Without a pool a connection costs a millisecond, and none is left open over a fork or an exit.
    pool = QueuePool if keep_connections else NullPool
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=pool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own would end transactions around DDL
        connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once if another wrote meanwhile,
        # whatever the busy timeout; one that says so from the start waits for its turn.
        writes = connection.get_execution_options().get("kajiya_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


class FileMarks:
    """Signs of life, each a locked file beside the database; the system frees it with its process."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def upgrade_lock(self) -> Path:
        return self._database.with_name(f".{self._database.name}.lock")

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        with locked(self._path(name)):
            try:
                yield
            finally:
                self.forget(name)

    def is_held(self, name: str) -> bool:
        return is_locked(self._path(name))

    def forget(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._database.with_name(f".{self._database.name}.{name}.alive")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What may go wrong with a file, as errors that say what to do."""
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
                "move the file away; artifacts are found again by themselves, keys and usage only in a copy",
                "このファイルを別の場所へ移してください。成果物は自動で登録し直しますが、キーと利用量はコピーからしか戻せません",
            ),
        ) from None
