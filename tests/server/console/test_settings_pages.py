"""The settings: people, storage, retention, and the audit log, as an administrator uses them."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kajiya.core.workspace import Workspace
from kajiya.jobs.status import State, Status, write_status
from kajiya.server.access.audit import Audit
from kajiya.server.access.gate import open_accounts
from kajiya.server.access.users import People, Role
from kajiya.server.housekeeping import RetentionSettings, apply_retention, clean_cache, space
from support.console import OWNER, PASSWORD, Reader, RunningConsole, running_console


def person(owner: Reader, name: str) -> str:
    """The address of somebody's row."""
    page = owner.see("/settings/people").text
    row = re.search(rf'<th scope="row">{name}.*?(/settings/people/user-[0-9a-f]+)/role', page, re.S)
    assert row
    return row[1]


def test_somebody_is_added_promoted_and_locked_out(console: RunningConsole, owner: Reader) -> None:
    assert (
        owner.submit(
            "/settings/people", name="suzuki", password=PASSWORD, role="viewer"
        ).status_code
        == 303
    )
    path = person(owner, "suzuki")
    with console.reader() as suzuki:
        suzuki.sign_in("suzuki")
        assert suzuki.see("/settings/people").status_code == 403
        assert owner.submit(f"{path}/role", role="admin").status_code == 303
        assert suzuki.see("/settings/people").status_code == 200
        assert owner.submit(f"{path}/password", password="short").status_code == 400
        assert suzuki.see("/settings/people").status_code == 200
        assert owner.submit(f"{path}/close").status_code == 303
        assert suzuki.see("/settings/people").status_code == 303
    assert owner.submit(f"{path}/reopen").status_code == 303
    assert owner.submit(f"{path}/role", role="emperor").status_code == 400
    again = owner.submit("/settings/people", name="suzuki", password=PASSWORD, role="viewer")
    assert again.status_code == 400
    assert "this name already" in again.text


def test_the_last_administrator_cannot_leave(tmp_path: Path) -> None:
    with running_console(tmp_path / "home") as console:
        owner = console.reader().first_start(console.first_url)
        refused = owner.submit(f"{person(owner, OWNER)}/close")
        assert refused.status_code == 409
        assert "one administrator must stay" in refused.text
        owner.close()


def test_everything_is_in_the_log_and_can_be_taken_along(
    console: RunningConsole, owner: Reader
) -> None:
    name = "=HYPERLINK(1)"
    owner.submit("/settings/people", name=name, password=PASSWORD, role="viewer")
    page = owner.see("/settings/audit?action=user.").text
    assert "=HYPERLINK(1)" in page
    assert "sign-in" not in re.sub(r"<(form|nav).*?</\1>", "", page, flags=re.S)
    text = owner.get("/settings/audit.csv?action=user.&who=" + OWNER).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["action"] for row in rows} <= {
        "user.first",
        "user.added",
        "user.role",
        "user.closed",
        "user.reopened",
    }
    assert "'=HYPERLINK(1)" in [row["subject"] for row in rows]
    assert PASSWORD not in text
    with console.reader() as stranger:
        stranger.see("/sign-in")
        stranger.submit("/sign-in", name="<b>mallory</b>", password="guess, guess")
    log = owner.see("/settings/audit?action=sign-in.refused").text
    assert "&lt;b&gt;mallory&lt;/b&gt;" in log
    assert "<b>mallory" not in log


def test_the_log_is_read_page_by_page(console: RunningConsole, owner: Reader) -> None:
    audit = Audit(open_accounts(Workspace(console.home)))
    for number in range(205):
        audit.add("machine", "many", f"entry {number}")
    first = owner.see("/settings/audit?who=machine").text
    assert ("entry 204" in first, "entry 105" in first, "entry 104<" in first) == (
        True,
        True,
        False,
    )
    older = re.search(r'href="(/settings/audit\?[^"]*before=\d+)"', first)
    assert older
    second = owner.see(older[1].replace("&amp;", "&")).text
    assert ("entry 104" in second, "entry 5<" in second, "entry 4<" in second) == (
        True,
        True,
        False,
    )
    for odd in ("before=x", "since=yesterday", "until=9999-12-31", "since=0001-01-01", "who=%00"):
        assert owner.see(f"/settings/audit?{odd}").status_code == 200


def test_space_is_told_by_kind_and_the_cache_is_cleaned(
    console: RunningConsole, owner: Reader
) -> None:
    cache = console.home / "cache" / "gguf"
    cache.mkdir(parents=True)
    (cache / "made.gguf").write_bytes(b"x" * 3 * 1024**2)
    (cache / "made.lock").touch()
    page = owner.see("/settings/storage").text
    assert "3.0 MB" in page
    assert "Database" in page
    assert owner.submit("/settings/storage/clean").status_code == 303
    assert [path.name for path in cache.iterdir()] == ["made.lock"]


def test_what_is_in_use_is_not_cleaned(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    for name in ("a", "b"):
        (workspace.cache / name).write_bytes(b"12345")
    assert clean_cache(workspace, [workspace.cache / "a"]) == 5
    assert [path.name for path in workspace.cache.iterdir()] == ["a"]
    assert [(one.kind, one.size, one.files) for one in space(workspace)] == [("cache", 5, 1)]


def test_a_wrong_retention_is_explained(owner: Reader) -> None:
    response = owner.submit("/settings/storage/retention", audit="-1", chats="", checkpoints="x")
    assert response.status_code == 400
    assert "At least 0" in response.text
    assert "A whole number is needed" in response.text


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Path]:
    """A job that ended a hundred days ago, with a checkpoint."""
    folder = Workspace(tmp_path / "home").create().jobs / "20260101-0000-tune-aaaa"
    (folder / "checkpoints" / "step-1").mkdir(parents=True)
    (folder / "checkpoints" / "step-1" / "weights").write_bytes(b"x")
    past = time.time() - 100 * 86400
    write_status(folder, Status(state=State.SUCCEEDED, created=past, finished=past))
    yield folder


def test_old_checkpoints_go_when_that_was_chosen(tmp_path: Path, job: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    database = open_accounts(workspace)
    for days, left in ((0, True), (101, True), (99, False)):
        apply_retention(workspace, database, RetentionSettings(checkpoints=days))
        assert (job / "checkpoints").exists() == left
    assert (job / "status.json").exists()
    database.close()


def test_retention_is_applied_at_the_start(tmp_path: Path, job: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    RetentionSettings(checkpoints=99).keep(workspace)
    with running_console(workspace.home):
        assert not (job / "checkpoints").exists()
    entries = Audit(open_accounts(workspace)).entries()
    assert [(entry.action, entry.detail) for entry in entries] == [
        ("retention.applied", {"checkpoints": 1})
    ]


def test_a_password_is_reset_in_the_terminal(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    people = People(open_accounts(workspace))
    people.create_first("sato", PASSWORD)
    people.create("suzuki", PASSWORD, Role.VIEWER)

    def reset(name: str, password: str) -> subprocess.CompletedProcess[str]:
        # Without a terminal the question is read from the standard input.
        return subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "kajiya.cli.main",
                "console",
                "--reset-password",
                name,
            ],
            input=f"{password}\n{password}\n",
            env={**os.environ, "KAJIYA_HOME": str(workspace.home)},
            capture_output=True,
            text=True,
        )

    done = reset("suzuki", "another hammer")
    assert done.returncode == 0, done.stderr
    assert people.check("suzuki", "another hammer")
    assert people.check("sato", PASSWORD)
    assert reset("nobody", "another hammer").returncode == 1
    assert reset("sato", "short").returncode == 1
    assert people.check("sato", PASSWORD)
