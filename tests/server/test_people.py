"""People, their browsers, and guessing of passwords."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.server.access import clock
from kajiya.server.access.attempts import Attempts
from kajiya.server.access.audit import Audit
from kajiya.server.access.passwords import hash_password, verify_password
from kajiya.server.access.sessions import IDLE, LONGEST, Sessions
from kajiya.server.access.users import People, Role
from kajiya.store.database import Database
from kajiya.store.tables import SESSIONS, USERS

PASSWORD = "hammer and anvil"


def test_a_password_is_kept_as_a_salted_hash(database: Database) -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second
    assert PASSWORD not in first
    assert verify_password(PASSWORD, first)
    assert not verify_password(PASSWORD + " ", first)
    People(database).create_first("sato", PASSWORD)
    with database.read() as connection:
        kept = connection.execute(select(USERS.c.password)).scalar_one()
    assert kept.startswith("scrypt$32768$8$3$")


def test_the_same_letters_typed_otherwise_are_the_same_password() -> None:
    assert verify_password("ﾊﾟｽﾜｰﾄﾞ12345", hash_password("パスワード12345"))


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaa", "ababababab", "x" * 201])
def test_bad_passwords_are_refused(password: str) -> None:
    with pytest.raises(ConfigError):
        hash_password(password)


def test_only_the_first_is_made_without_being_asked(database: Database) -> None:
    people = People(database)
    assert not people.any()
    user = people.create_first("sato", PASSWORD)
    assert user.role is Role.ADMIN
    with pytest.raises(ConflictError):
        people.create_first("suzuki", PASSWORD)
    assert [user.name for user in people.list()] == ["sato"]


@pytest.mark.parametrize("name", ["", " sato", "a\nb", "x" * 101, "\u202eotas"])
def test_names_that_cannot_be_told_apart_are_refused(database: Database, name: str) -> None:
    with pytest.raises(ConfigError):
        People(database).create(name, PASSWORD, Role.VIEWER)


def test_a_name_is_taken_once(database: Database) -> None:
    people = People(database)
    people.create_first("sato", PASSWORD)
    with pytest.raises(ConflictError, match="this name already"):
        people.create("sato", PASSWORD, Role.VIEWER)


def test_roles_cover_those_below_them() -> None:
    assert [[a.covers(b) for b in Role] for a in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_the_last_administrator_stays(database: Database) -> None:
    people = People(database)
    people.create_first("sato", PASSWORD)
    people.create("suzuki", PASSWORD, Role.TRAINER)
    for change in (lambda: people.set_role("sato", Role.VIEWER), lambda: people.close("sato")):
        with pytest.raises(ConflictError, match="one administrator"):
            change()
    people.set_role("suzuki", Role.ADMIN)
    assert people.close("sato").closed_at
    with pytest.raises(ConflictError):
        people.close("suzuki")


def test_who_is_locked_out_is_out_at_once(database: Database) -> None:
    people, sessions = People(database), Sessions(database)
    people.create_first("sato", PASSWORD)
    suzuki = people.create("suzuki", PASSWORD, Role.VIEWER)
    secret = sessions.begin(suzuki)
    people.close("suzuki")
    assert sessions.find(secret) is None
    assert people.check("suzuki", PASSWORD) is None
    people.reopen("suzuki")
    assert sessions.find(secret) is None
    assert people.check("suzuki", PASSWORD) == people.get("suzuki")


def test_another_password_signs_everybody_out(database: Database) -> None:
    people, sessions = People(database), Sessions(database)
    user = people.create_first("sato", PASSWORD)
    secrets = [sessions.begin(user) for _ in range(2)]
    people.set_password("sato", "another hammer")
    assert [sessions.find(secret) for secret in secrets] == [None, None]
    assert people.check("sato", PASSWORD) is None
    assert people.check("sato", "another hammer")


def test_a_session_is_kept_as_a_hash_and_ends(database: Database) -> None:
    people, sessions = People(database), Sessions(database)
    user = people.create_first("sato", PASSWORD)
    first, second = sessions.begin(user), sessions.begin(user)
    assert first != second
    with database.read() as connection:
        ids = connection.execute(select(SESSIONS.c.id)).scalars().all()
    assert first not in ids
    sessions.end(first)
    assert sessions.find(first) is None
    assert sessions.find(second) == user
    sessions.end_all(user)
    assert sessions.find(second) is None
    assert sessions.find("") is None


@pytest.mark.parametrize(("column", "longest"), [("seen_at", IDLE), ("created_at", LONGEST)])
def test_a_session_ends_by_itself(database: Database, column: str, longest: timedelta) -> None:
    sessions = Sessions(database)
    secret = sessions.begin(People(database).create_first("sato", PASSWORD))

    def move(past: timedelta) -> None:
        with database.write() as connection:
            connection.execute(update(SESSIONS).values({column: clock.moment(clock.now() - past)}))

    move(longest - timedelta(minutes=5))
    assert sessions.find(secret)
    move(longest + timedelta(minutes=5))
    assert sessions.find(secret) is None
    sessions.begin(People(database).get("sato"))
    with database.read() as connection:
        assert len(connection.execute(select(SESSIONS)).all()) == 1


def test_use_keeps_a_session_alive(database: Database) -> None:
    sessions = Sessions(database)
    secret = sessions.begin(People(database).create_first("sato", PASSWORD))
    for _ in range(3):
        past = clock.moment(clock.now() - IDLE + timedelta(minutes=5))
        with database.write() as connection:
            connection.execute(update(SESSIONS).values(seen_at=past))
        assert sessions.find(secret)
        with database.read() as connection:
            assert connection.execute(select(SESSIONS.c.seen_at)).scalar_one() > past


def test_unknown_names_say_so(database: Database) -> None:
    with pytest.raises(NotFoundError):
        People(database).set_role("nobody", Role.ADMIN)


def test_guessing_takes_longer_and_longer() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(5):
        assert attempts.wait("sato") == 0
        attempts.failed("sato")
    pauses = []
    for _ in range(12):
        pauses.append(attempts.wait("sato"))
        now[0] += pauses[-1]
        assert attempts.wait("sato") == 0
        attempts.failed("sato")
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 300
    assert attempts.wait("suzuki") == 0
    attempts.succeeded("sato")
    assert attempts.wait("sato") == 0


def test_guesses_are_forgotten_after_an_hour_and_do_not_pile_up() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(20):
        attempts.failed("sato")
    now[0] += 3601
    assert attempts.wait("sato") == 0
    for number in range(1001):
        attempts.failed(str(number))
    for _ in range(5):
        attempts.failed("0")  # was forgotten for the newer ones, so it begins anew
    assert attempts.wait("0") == 1


def test_the_log_is_filtered_and_shortened(database: Database) -> None:
    audit = Audit(database)
    for number in range(5):
        audit.add("sato", "key.made" if number % 2 else "job.started", f"s{number}", number=number)
    audit.add("suzuki", "key_x", "100%")
    assert [entry.subject for entry in audit.entries()] == ["100%", "s4", "s3", "s2", "s1", "s0"]
    assert [entry.subject for entry in audit.entries(action="key.")] == ["s3", "s1"]
    assert [entry.subject for entry in audit.entries(action="key_")] == ["100%"]
    assert [entry.detail for entry in audit.entries(who="sato", limit=1)] == [{"number": 4}]
    third = audit.entries()[2]
    assert [entry.subject for entry in audit.entries(before=third.id, limit=2)] == ["s2", "s1"]
    assert audit.names() == ["sato", "suzuki"]
    assert audit.forget(before="2000") == 0
    assert audit.forget(before=clock.moment(clock.now() + timedelta(seconds=1))) == 6
    assert audit.entries() == []
