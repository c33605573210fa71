"""A database: SQLite in a file, or PostgreSQL by URL; always at the newest version.

Opening a database brings it up to date. Nothing here knows what the tables mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from kajiya.core.errors import ConfigError, ConflictError
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.store import postgresql, sqlite

_MIGRATIONS = Path(__file__).parent / "migrations"
_PATIENCE = 30.0


class _Marks(Protocol):
    def held(self, name: str) -> AbstractContextManager[None]: ...
    def is_held(self, name: str) -> bool: ...
    def forget(self, name: str) -> None: ...


class Database:
    """Transactions on one database. Safe between threads and processes.

    `marks` are signs of life: `held` puts one up for as long as a block runs, and it goes when the
    process dies, however it dies; `is_held` looks for one, and `forget` clears up what a dead one left.
    """

    def __init__(self, engine: Engine, marks: _Marks) -> None:
        self._engine = engine
        self.marks = marks

    @classmethod
    def open_file(
        cls, path: Path, *, patience: float = _PATIENCE, keep_connections: bool = False
    ) -> Database:
        """Open (or make) the SQLite file `path`, readable by its owner only, and upgrade it.

        A transaction waits `patience` seconds for others. With `keep_connections` they are kept until
        `close`, which a server wants. Raises `FormatError` if the file is damaged
        or no database, `ConflictError` if a newer Kajiya made it, and `ResourceError` if it cannot
        be written.
        """
        with sqlite.explained(path):
            engine = sqlite.open_engine(path, patience, keep_connections)
            marks = sqlite.FileMarks(path)
            with engine.connect() as connection:
                old = _needs_upgrade(connection, str(path))
            if old:
                # Several processes may find the same old file: the first upgrades, the others look again.
                with locked(marks.upgrade_lock()), engine.connect() as connection:
                    connection = connection.execution_options(kajiya_write=True)
                    if _needs_upgrade(connection, str(path)):
                        _upgrade(connection)
                    connection.commit()
        return cls(engine, marks)

    @classmethod
    def open_url(
        cls, url: str, *, patience: float = _PATIENCE, keep_connections: bool = False
    ) -> Database:
        """Open `postgresql://user:password@host/name` or `sqlite:///path`, and upgrade it.

        Raises `ConfigError` for any other URL, and what `open_file` raises.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            parsed = None
        kind = parsed.get_backend_name() if parsed else ""
        if parsed is None or kind not in ("postgresql", "postgres", "sqlite"):
            raise ConfigError(
                tr("this is no database that can be used", "使えるデータベースではありません"),
                where=f"{kind}://…",  # the rest may hold a password
                fix=tr(
                    "give postgresql://USER:PASSWORD@HOST/NAME, or sqlite:///PATH",
                    "postgresql://ユーザー:パスワード@ホスト/名前 か sqlite:///パス を指定してください",
                ),
            )
        if kind == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ConfigError(
                    tr("a file is needed", "ファイルが必要です"),
                    where=str(parsed),
                    fix="sqlite:///PATH",
                )
            return cls.open_file(
                Path(parsed.database), patience=patience, keep_connections=keep_connections
            )
        with postgresql.explained(parsed):
            engine = postgresql.open_engine(parsed, patience, keep_connections)
            with engine.connect() as connection:
                if _needs_upgrade(connection, str(parsed)):
                    connection.rollback()
                    postgresql.lock_for_upgrade(connection)
                    if _needs_upgrade(connection, str(parsed)):
                        _upgrade(connection)
                    connection.commit()
        return cls(engine, postgresql.AdvisoryMarks(engine))

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

    def close(self) -> None:
        """Close the connections that were kept."""
        self._engine.dispose()


def _needs_upgrade(connection: Connection, where: str) -> bool:
    """Compare the database's version with ours, without Alembic (whose import is slow)."""
    known = sorted(
        file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py")
    )
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


def _upgrade(connection: Connection) -> None:
    """Run the migrations in the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
