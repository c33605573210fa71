"""Keys in the database: hashed, shown once, rotated, revoked. On SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.server.access import clock
from kajiya.server.access.caller import KeySettings
from kajiya.server.access.keyring import Keyring
from kajiya.store.database import Database

ALL: dict[str, Any] = {
    "owner": "総務部",
    "models": "company-*, base",
    "rpm_limit": 3,
    "tpm_limit": 400,
    "max_parallel_requests": 5,
    "max_budget": 6_000_000_000,
    "budget_period": "day",
}


@pytest.fixture
def keyring(database: Database) -> Keyring:
    return Keyring(database)


def test_a_key_is_found_by_its_secret_and_keeps_its_settings(keyring: Keyring) -> None:
    made, secret = keyring.create("社内 Wiki", KeySettings.checked(ALL), "90d")
    found = keyring.find(secret)
    assert found == made == keyring.get("社内 Wiki") == keyring.get(made.id)
    assert made.settings.models == ("company-*", "base")
    assert made.settings.max_budget == 6_000_000_000
    assert made.state(clock.now()) == "active"
    assert made.state(clock.now() + timedelta(days=89)) == "active"
    assert made.state(clock.now() + timedelta(days=91)) == "expired"
    assert keyring.list() == [made]


def test_no_secret_is_in_the_database(keyring: Keyring, database: Database) -> None:
    _, secret = keyring.create("one", KeySettings())
    assert len(secret) == 46
    with database.read() as connection:
        (row,) = connection.execute(text("SELECT * FROM keys")).mappings()
    held = {name: value for name, value in row.items() if str(value) in secret and value != ""}
    assert held == {"prefix": secret[:9]}
    assert row["secret_sha256"] == hashlib.sha256(secret.encode()).hexdigest()


def test_secrets_differ(keyring: Keyring) -> None:
    secrets = {keyring.create(f"key {number}", KeySettings())[1] for number in range(20)}
    assert len(secrets) == 20


@pytest.mark.parametrize("wrong", ["", "kj-", "kj-" + "a" * 43, "kj-" + "あ" * 43, "x" * 10_000])
def test_other_secrets_find_nothing(keyring: Keyring, wrong: str) -> None:
    keyring.create("one", KeySettings())
    assert keyring.find(wrong) is None


def test_a_new_secret_ends_the_old_one(keyring: Keyring) -> None:
    made, old = keyring.create("one", KeySettings.checked(ALL), "1h")
    rotated, new = keyring.rotate("one")
    assert keyring.find(old) is None
    assert keyring.find(new) == rotated
    assert (rotated.id, rotated.settings, rotated.expires_at) == (
        made.id,
        made.settings,
        made.expires_at,
    )
    later, _ = keyring.rotate("one", "1d")
    assert later.expires_at is not None
    assert made.expires_at is not None
    assert later.expires_at > made.expires_at


def test_revoked_is_for_good(keyring: Keyring) -> None:
    made, secret = keyring.create("one", KeySettings())
    revoked = keyring.revoke("one")
    assert revoked.state(clock.now()) == "revoked"
    assert keyring.find(secret) == revoked == keyring.revoke(made.id)
    with pytest.raises(ConflictError, match="was revoked"):
        keyring.rotate("one")
    with pytest.raises(ConflictError, match="has this name"):
        keyring.create("one", KeySettings())


def test_changing_leaves_the_rest(keyring: Keyring) -> None:
    _, secret = keyring.create("one", KeySettings.checked(ALL))
    changed = keyring.change("one", {"rpm_limit": 7})
    assert changed.settings == KeySettings.checked({**ALL, "rpm_limit": 7})
    assert keyring.find(secret) == changed
    with pytest.raises(ConfigError):
        keyring.change("one", {"rpm_limit": 0})


def test_what_is_not_there(keyring: Keyring) -> None:
    for act in (keyring.get, keyring.rotate, keyring.revoke):
        with pytest.raises(NotFoundError, match="no such key"):
            act("nobody")


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\x1b[31m", "\u202eb", "x" * 101])
def test_names_that_cannot_be(keyring: Keyring, name: str) -> None:
    with pytest.raises(ConfigError):
        keyring.create(name, KeySettings())
    if name:
        with pytest.raises(ConfigError):
            keyring.create("fine", KeySettings.checked({"owner": name}))


@pytest.mark.parametrize(
    "duration", ["", "0d", "-1d", "5", "d", "1y", "9999999d", "999999w", "1 d"]
)
def test_durations_that_are_none(keyring: Keyring, duration: str) -> None:
    with pytest.raises(ConfigError, match="no duration"):
        keyring.create("one", KeySettings(), duration)
    assert keyring.list() == []


@pytest.mark.parametrize(
    ("models", "name", "allowed"),
    [
        ("company-faq", "company-faq", True),
        ("company-faq", "company-faq:2", False),
        ("company-faq", "Company-faq", False),
        ("company-*", "company-faq:2", True),
        ("company-*", "company-", True),
        ("company-*", "other-company-faq", False),
        ("company-*", "company-faq+secret:0.5", False),
        ("*", "org/tuned:1", True),
        ("*", "a+b", False),
        ("a+b", "a+b", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("x,company-*", "x", True),
    ],
)
def test_scopes(models: str, name: str, allowed: bool) -> None:
    assert KeySettings.checked({"models": models}).allows(name) is allowed
    assert KeySettings().allows(name)


@given(
    st.datetimes(timezones=st.just(clock.now().tzinfo)), st.sampled_from(["day", "month", "total"])
)
def test_a_period_holds_its_day_and_borders_on_the_next(when: Any, name: str) -> None:
    if when.year > 9000:
        return
    first, after = clock.period(name, when)
    day = when.date().isoformat()
    assert first <= day < after
    if name != "total":
        following = clock.datetime.fromisoformat(after).replace(tzinfo=when.tzinfo)
        assert clock.period(name, following)[0] == after
