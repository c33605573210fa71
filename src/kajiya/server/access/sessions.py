"""Browsers that are signed in. A cookie holds 256 random bits; the database holds their SHA-256.

A session ends when it was not used for a day, two weeks after it began, or when it is told to.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, insert, or_, select, update

from kajiya.server.access import clock
from kajiya.server.access.users import User, as_user
from kajiya.store.database import Database
from kajiya.store.tables import SESSIONS, USERS

IDLE = timedelta(days=1)
LONGEST = timedelta(days=14)
_TOUCH = timedelta(minutes=1)  # how exactly it is known when a session was last used


def new_secret() -> str:
    """What a cookie holds."""
    return secrets.token_urlsafe(32)


class Sessions:
    """The table of sessions. Safe between threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, user: User) -> str:
        """Sign a browser in; returns the secret for its cookie, which is always a new one."""
        secret, when = new_secret(), clock.now()
        with self._database.write() as connection:
            connection.execute(delete(SESSIONS).where(_over(when)))
            connection.execute(
                insert(SESSIONS).values(
                    id=_hash(secret),
                    user_id=user.id,
                    created_at=clock.moment(when),
                    seen_at=clock.moment(when),
                )
            )
        return secret

    def find(self, secret: str) -> User | None:
        """Who is signed in with this cookie."""
        when = clock.now()
        query = (
            select(USERS, SESSIONS.c.seen_at)
            .join(SESSIONS, SESSIONS.c.user_id == USERS.c.id)
            .where(SESSIONS.c.id == _hash(secret), ~_over(when), USERS.c.closed_at.is_(None))
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        if row["seen_at"] < clock.moment(when - _TOUCH):
            with self._database.write() as connection:
                mine = SESSIONS.c.id == _hash(secret)
                connection.execute(update(SESSIONS).where(mine).values(seen_at=clock.moment(when)))
        return as_user(row)

    def end(self, secret: str) -> None:
        """Sign one browser out."""
        with self._database.write() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.id == _hash(secret)))

    def end_all(self, user: User) -> None:
        """Sign somebody out everywhere."""
        with self._database.write() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.user_id == user.id))


def _over(when: datetime) -> ColumnElement[bool]:
    return or_(
        SESSIONS.c.seen_at < clock.moment(when - IDLE),
        SESSIONS.c.created_at < clock.moment(when - LONGEST),
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
