"""People who use the console: names, roles, passwords and what they like; in the database.

Their browsers are in `sessions.py`. Rows are never deleted: the audit log names them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import Connection, RowMapping, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.core.language import Language, tr
from kajiya.server.access import clock
from kajiya.server.access.passwords import hash_password, verify_password
from kajiya.store.database import Database
from kajiya.store.tables import SESSIONS, USERS

_LONGEST_NAME = 100
# Checked for names that nobody has, so that an answer takes as long for them.
_NOBODYS = "scrypt$32768$8$3$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


class Role(StrEnum):
    """What a person may do: look and chat; also change data and train; also keys, people and settings."""

    VIEWER = "viewer"
    TRAINER = "trainer"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether somebody of this role may do what is for `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class User:
    """One person. `language` and `theme` are None where none was chosen; `welcome` is how far the tour is."""

    id: str
    name: str
    role: Role
    language: Language | None
    theme: str | None
    welcome: dict[str, Any]
    created_at: str
    closed_at: str | None


Users: TypeAlias = list[User]  # `list` is a method below


class People:
    """The table of users. Safe between threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def any(self) -> bool:
        """Whether somebody was ever registered."""
        with self._database.read() as connection:
            return _count(connection) > 0

    def list(self) -> Users:
        """All of them, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(USERS).order_by(USERS.c.created_at, USERS.c.id))
            return [as_user(row) for row in rows.mappings()]

    def get(self, name: str) -> User:
        """By name or id; `NotFoundError` if there is none."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(USERS).where((USERS.c.name == name) | (USERS.c.id == name))
            )
            row = rows.mappings().first()
        if row is None:
            raise NotFoundError(tr("there is no such user", "そのユーザーはいません"), where=name)
        return as_user(row)

    def create_first(self, name: str, password: str) -> User:
        """The first administrator; `ConflictError` if somebody is registered already."""

        def nobody_yet(connection: Connection) -> None:
            if _count(connection):
                raise ConflictError(
                    tr("an administrator exists already", "管理者はすでに登録されています")
                )

        return self._insert(name, password, Role.ADMIN, nobody_yet)

    def create(self, name: str, password: str, role: Role) -> User:
        """Somebody new; `ConflictError` if the name is taken, `ConfigError` if it or the password will not do."""
        return self._insert(name, password, role, lambda connection: None)

    def check(self, name: str, password: str) -> User | None:
        """The user whose name and password these are; takes as long for wrong ones."""
        with self._database.read() as connection:
            row = connection.execute(select(USERS).where(USERS.c.name == name)).mappings().first()
        right = verify_password(password, row["password"] if row else _NOBODYS)
        return as_user(row) if row and right and not row["closed_at"] else None

    def set_password(self, name: str, password: str) -> User:
        """Give somebody another password, and sign all his browsers out."""
        return self._change(self.get(name), {"password": hash_password(password)}, sign_out=True)

    def set_role(self, name: str, role: Role) -> User:
        """Raises `ConflictError` if no administrator would be left."""
        return self._change(self.get(name), {"role": role.value})

    def close(self, name: str) -> User:
        """Let somebody in no more; `ConflictError` if no administrator would be left."""
        return self._change(self.get(name), {"closed_at": clock.moment(clock.now())}, sign_out=True)

    def reopen(self, name: str) -> User:
        """Let somebody in again."""
        return self._change(self.get(name), {"closed_at": None})

    def remember(self, name: str, **values: Any) -> User:
        """Keep what somebody likes: `language`, `theme`, `welcome`."""
        return self._change(self.get(name), values)

    def _insert(
        self, name: str, password: str, role: Role, check: Callable[[Connection], None]
    ) -> User:
        _check_name(name)
        values: dict[str, Any] = {
            "id": f"user-{secrets.token_hex(8)}",
            "name": name,
            "role": role.value,
            "password": hash_password(password),
            "welcome": {},
            "created_at": clock.moment(clock.now()),
        }
        try:
            with self._database.write() as connection:
                check(connection)
                connection.execute(insert(USERS).values(**values))
        except IntegrityError:
            raise ConflictError(
                tr("a user has this name already", "同じ名前のユーザーがいます"), where=name
            ) from None
        return self.get(name)

    def _change(self, user: User, values: dict[str, Any], sign_out: bool = False) -> User:
        with self._database.write() as connection:
            connection.execute(update(USERS).where(USERS.c.id == user.id).values(**values))
            if not _count(connection, USERS.c.role == Role.ADMIN, USERS.c.closed_at.is_(None)):
                raise ConflictError(
                    tr("one administrator must stay", "管理者が 1 人もいなくなります"),
                    where=user.name,
                    fix=tr(
                        "make somebody else administrator first",
                        "先に別の人を管理者にしてください",
                    ),
                )
            if sign_out:
                connection.execute(SESSIONS.delete().where(SESSIONS.c.user_id == user.id))
        return self.get(user.id)


def as_user(row: RowMapping) -> User:
    """A row of the table as a user."""
    plain = ("id", "name", "language", "theme", "welcome", "created_at", "closed_at")
    return User(role=Role(row["role"]), **{name: row[name] for name in plain})


def _count(connection: Connection, *conditions: Any) -> int:
    query = select(func.count()).select_from(USERS).where(*conditions)
    return int(connection.execute(query).scalar_one())


def _check_name(name: str) -> None:
    good = 0 < len(name) <= _LONGEST_NAME and name.isprintable() and name == name.strip()
    if not good:
        raise ConfigError(
            tr(f"{name!r} cannot be a user's name", f"{name!r} はユーザー名に使えません"),
            where="name",
            fix=tr(
                f"use 1 to {_LONGEST_NAME} visible characters, without spaces around them",
                f"前後に空白のない 1〜{_LONGEST_NAME} 文字にしてください",
            ),
        )
