"""The keys of the gateway, in the database: made, found, rotated and revoked.

A secret is 256 random bits and is returned once, when it is made; what stays is its SHA-256, which
for a secret that nobody can guess needs neither salt nor slowness. Rows are never deleted.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from sqlalchemy import RowMapping, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.core.language import tr
from kajiya.server.access import clock
from kajiya.server.access.caller import KeySettings
from kajiya.server.keys import FORM, PREFIX
from kajiya.store.database import Database
from kajiya.store.tables import KEYS

State = Literal["active", "expired", "revoked"]
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHOWN = (
    len(PREFIX) + 6
)  # characters of a secret that lists show, so that one can be told from another
_SETTINGS = tuple(KeySettings.model_fields)


@dataclass(frozen=True)
class Key:
    """One key as it is known afterwards: without its secret. Moments are ISO 8601 in UTC."""

    id: str
    name: str
    prefix: str
    settings: KeySettings
    created_at: str
    expires_at: str | None
    rotated_at: str | None
    revoked_at: str | None

    def state(self, when: datetime) -> State:
        """Whether it works at that moment, and why not."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= clock.moment(when) else "active"


Keys: TypeAlias = list[Key]  # `list` is a method below


class Keyring:
    """The table of keys. Safe between threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, settings: KeySettings, duration: str | None = None
    ) -> tuple[Key, str]:
        """A new key and its secret. Raises `ConflictError` if the name is taken, `ConfigError` if it cannot be one."""
        _check_label(name, "name")
        _check_label(settings.owner or "-", "owner")
        secret = _new_secret()
        when = clock.now()
        values = {
            "id": f"key-{secrets.token_hex(8)}",
            "name": name,
            **settings.model_dump(mode="json"),
            **_secret_columns(secret),
            "created_at": clock.moment(when),
            "expires_at": _expiry(duration, when),
        }
        try:
            with self._database.write() as connection:
                connection.execute(insert(KEYS).values(**values))
        except IntegrityError:
            raise ConflictError(
                tr("a key has this name already", "同じ名前のキーがあります"),
                where=name,
                fix=tr(
                    "choose another name, or give that key a new secret: kajiya keys rotate",
                    "別の名前にするか、kajiya keys rotate でそのキーを作り直してください",
                ),
            ) from None
        return self.get(name), secret

    def list(self) -> Keys:
        """All keys, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(KEYS).order_by(KEYS.c.created_at, KEYS.c.id))
            return [_key(row) for row in rows.mappings()]

    def get(self, name: str) -> Key:
        """The key with this name or id; `NotFoundError` if there is none."""
        query = select(KEYS).where(or_(KEYS.c.name == name, KEYS.c.id == name))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(KEYS.c.id != name)).mappings().first()
        if row is None:
            raise NotFoundError(
                tr("there is no such key", "そのようなキーはありません"),
                where=name,
                fix=tr("kajiya keys list shows all", "kajiya keys list で一覧を確かめてください"),
            )
        return _key(row)

    def find(self, secret: str) -> Key | None:
        """The key that this is the secret of, in whatever state it is."""
        if not FORM.fullmatch(secret):
            return None
        # Looked up by its hash, so the time that takes tells nothing about any secret.
        query = select(KEYS).where(KEYS.c.secret_sha256 == _hash(secret))
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return _key(row) if row else None

    def change(self, name: str, values: Mapping[str, Any]) -> Key:
        """Give a key other settings; those not named stay."""
        key = self.get(name)
        settings = KeySettings.checked({**key.settings.model_dump(), **values})
        return self._update(key, settings.model_dump(mode="json"))

    def rotate(self, name: str, duration: str | None = None) -> tuple[Key, str]:
        """Give a key a new secret; the old one stops working. With `duration` also a new expiry.

        Raises `ConflictError` if the key was revoked.
        """
        key = self.get(name)
        if key.revoked_at:
            raise ConflictError(
                tr("this key was revoked", "このキーは失効しています"),
                where=name,
                fix=tr("make a new one: kajiya keys create", "kajiya keys create で作ってください"),
            )
        secret, when = _new_secret(), clock.now()
        expiry = {"expires_at": _expiry(duration, when)} if duration else {}
        values = {**_secret_columns(secret), "rotated_at": clock.moment(when), **expiry}
        return self._update(key, values), secret

    def revoke(self, name: str) -> Key:
        """Stop a key from working, for good."""
        key = self.get(name)
        return (
            key if key.revoked_at else self._update(key, {"revoked_at": clock.moment(clock.now())})
        )

    def _update(self, key: Key, values: Mapping[str, Any]) -> Key:
        with self._database.write() as connection:
            connection.execute(update(KEYS).where(KEYS.c.id == key.id).values(**values))
        return self.get(key.id)


def _new_secret() -> str:
    return f"{PREFIX}{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _secret_columns(secret: str) -> dict[str, str]:
    return {"prefix": secret[:_SHOWN], "secret_sha256": _hash(secret)}


def _key(row: RowMapping) -> Key:
    plain = ("id", "name", "prefix", "created_at", "expires_at", "rotated_at", "revoked_at")
    settings = KeySettings(**{name: row[name] for name in _SETTINGS})
    return Key(settings=settings, **{name: row[name] for name in plain})


def _check_label(text: str, where: str) -> None:
    if not 0 < len(text) <= 100 or not text.isprintable() or text != text.strip():
        raise ConfigError(
            tr(f"{text!r} cannot be used", f"{text!r} は使えません"),
            where=where,
            fix=tr(
                "use 1 to 100 visible characters, without spaces around them",
                "前後に空白のない 1〜100 文字にしてください",
            ),
        )


def _expiry(duration: str | None, when: datetime) -> str | None:
    """The end of a duration such as `90d` from now."""
    if duration is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", duration)
    try:
        if match:
            return clock.moment(when + timedelta(**{_UNITS[match[2]]: int(match[1])}))
    except OverflowError:
        pass
    raise ConfigError(
        tr(f"{duration!r} is no duration", f"{duration!r} は期間として読めません"),
        where="duration",
        fix=tr("write 30m, 12h, 90d or 52w", "30m、12h、90d、52w のように書いてください"),
    )
