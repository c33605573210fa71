"""PostgreSQL as a database of ours, for several machines that share keys and usage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from kajiya.core.errors import ResourceError
from kajiya.core.language import tr

_MIGRATION_SECONDS = 60


def open_engine(url: URL, patience: float, keep_connections: bool) -> Engine:
    """An engine for `url`; no statement waits or works longer than `patience` seconds.

    Raises `ResourceError` if the driver is not installed.
    """
    milliseconds = round(patience * 1000)
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=QueuePool if keep_connections else NullPool,
            pool_pre_ping=True,  # the server may have been restarted in between
            connect_args={
                "connect_timeout": max(1, round(patience)),
                "application_name": "kajiya",
                "options": f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds}",
            },
        )
    except ModuleNotFoundError:
        raise ResourceError(
            tr("PostgreSQL's driver is not installed", "PostgreSQL のドライバーがありません"),
            where=str(url),
            fix="pip install 'kajiya[postgresql]'",
        ) from None


class AdvisoryMarks:
    """Signs of life as locks of a session, which the database frees when its client is gone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        with self._session() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _number(name)})
            yield
            connection.invalidate()  # ends the session, and with it the lock

    def is_held(self, name: str) -> bool:
        with self._session() as connection:
            got = connection.execute(
                text("SELECT pg_try_advisory_lock(:key)"), {"key": _number(name)}
            ).scalar()
            if got:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _number(name)})
            return not got

    def forget(self, name: str) -> None:
        """Nothing is left of a session that ended."""

    def _session(self) -> Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def lock_for_upgrade(connection: Connection) -> None:
    """Hold the right to change tables until this transaction ends."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATION_SECONDS}s'"))
    connection.execute(text(f"SET LOCAL statement_timeout = '{_MIGRATION_SECONDS}s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _number("upgrade")})


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """What may go wrong with a server, as an error that says what to do, without the password."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())
        raise ResourceError(
            tr(
                f"the database cannot be used: {reason}",
                f"データベースを使えません: {reason}",
            ),
            where=str(url),
            fix=tr(
                "check that the server runs, and the name, password and rights of the user",
                "サーバーが動いているか、ユーザー名・パスワード・権限を確かめてください",
            ),
        ) from None


def _number(name: str) -> int:
    """A lock's name as the 64 bits that PostgreSQL wants, signed."""
    digest = hashlib.sha256(f"kajiya {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
