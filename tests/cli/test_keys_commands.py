"""`kajiya keys` as people type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kajiya.cli.main import main
from kajiya.server.access.caller import KeySettings
from kajiya.server.access.keyring import Keyring
from kajiya.server.access.ledger import Ledger, Progress
from kajiya.store.database import Database


@pytest.fixture(params=["own", "by url"])
def database(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    new_database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Database:
    """The database that the commands find: the workspace's own, or one named in the environment."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("KAJIYA_HOME", str(home))
    path = home / "accounts.db"
    if request.param == "by url":
        path = tmp_path / "elsewhere.db"
        monkeypatch.setenv("KAJIYA_DATABASE_URL", f"sqlite:///{path}")
    path.write_bytes(new_database.read_bytes())
    return Database.open_file(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["keys", *arguments]) == 0
    return capsys.readouterr().out


def test_a_key_is_shown_once(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    secret = run(
        capsys, "create", "wiki", "--owner", "総務", "--models", "a,b-*", "--duration", "2d"
    )
    assert secret.endswith("\n")
    key = Keyring(database).find(secret.strip())
    assert key is not None
    assert key.settings == KeySettings(owner="総務", models=("a", "b-*"))
    for command in (["list"], ["list", "--json"], ["show", "wiki"], ["show", key.id, "--json"]):
        shown = run(capsys, *command)
        assert "wiki" in shown
        assert "総務" in shown
        assert key.prefix in shown
        assert secret.strip() not in shown


def test_rotate_and_revoke(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    first = json.loads(run(capsys, "create", "wiki", "--rpm-limit", "5", "--json"))
    second = json.loads(run(capsys, "rotate", "wiki", "--json"))
    keyring = Keyring(database)
    assert first["key"] != second["key"]
    assert first["rpm_limit"] == second["rpm_limit"] == 5
    assert keyring.find(first["key"]) is None
    assert keyring.find(second["key"]) is not None
    assert "60" in run(capsys, "change", "wiki", "--rpm-limit", "60")
    lifted = run(capsys, "change", "wiki", "--no-limit", "rpm_limit", "--models", "a")
    assert "Requests a minute" not in lifted
    assert keyring.get("wiki").settings == KeySettings(models=("a",))
    assert "was revoked" in run(capsys, "revoke", "wiki", "--yes")
    assert json.loads(run(capsys, "list", "--json"))[0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nobody"], "there is no such key"),
        (["create", "x", "--duration", "soon"], "no duration"),
        (["create", "x", "--rpm-limit", "0"], "rpm_limit"),
        (["create", " x"], "cannot be used"),
        (["create", "x", "--models", ""], "a name is empty"),
        (["create", "x", "--models", "a", "--models", "b,,"], "a name is empty"),
        (["usage", "nobody"], "there is no such key"),
    ],
)
def test_mistakes_are_told(
    database: Database, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["keys", *arguments]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert Keyring(database).list() == []


def test_nothing_yet(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert "kajiya keys create NAME" in run(capsys, "list")
    assert "Nothing was used" in run(capsys, "usage")
    assert json.loads(run(capsys, "usage", "--json")) == []


async def test_usage(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    key, _ = Keyring(database).create("wiki", KeySettings())
    ledger = Ledger(database)
    for id, model, progress in (
        (key.id, "faq", Progress("ok", 1000, 234)),
        (key.id, "legal", Progress("error", 7, 0)),
        ("administrator", "faq", Progress("ok", 1, 1)),
    ):
        ledger.end(await ledger.begin(id, model), progress)
    await ledger.begin(key.id, "faq")
    ledger.close()

    def sums(*arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(run(capsys, "usage", *arguments, "--json"))
        return found

    table = run(capsys, "usage")
    assert "1,000" in table
    assert "wiki" in table
    assert len(sums()) == 3
    (faq, legal) = sums("wiki")
    assert (faq["name"], faq["requests"], faq["interrupted"], faq["total_tokens"]) == (
        "wiki",
        2,
        1,  # its server is gone: closed by this command
        1234,
    )
    assert legal["errors"] == 1
    assert [row["name"] for row in sums("--by", "key")] == ["administrator", "wiki"]
    assert [row["total_tokens"] for row in sums("--by", "model")] == [1236, 7]
    assert sums("administrator")[0]["total_tokens"] == 2
    assert sums("--model", "legal")[0]["prompt_tokens"] == 7
    assert sums("--since", "2999-01-01") == []
