"""`kajiya preferences` as people type it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from kajiya.cli.main import main
from kajiya.server.access.users import People
from kajiya.server.chats.conversations import Conversations
from kajiya.server.chats.preferences import Preferences
from kajiya.server.chats.settings import ChatSettings
from kajiya.store.database import Database


@pytest.fixture
def database(tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path))
    path = tmp_path / "accounts.db"
    path.write_bytes(new_database.read_bytes())
    return Database.open_file(path)


def test_nothing_was_said_yet(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preferences", "list"]) == 0
    assert "None yet" in capsys.readouterr().out
    assert main(["preferences", "export", "pairs"]) == 0
    assert capsys.readouterr().out == ""


def test_a_correction_is_listed_and_taken_away(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = People(database).create_first("sato", "hammer and anvil")
    conversations = Conversations(database)
    talk = conversations.create(user.id, ChatSettings(models=("company",)))
    (answer,) = conversations.ask(talk, "始業は何時ですか。")
    conversations.answered(dataclasses.replace(answer, content="9時です。", status="stop"))
    Preferences(database, conversations).correct(user.id, answer.id, "8時25分です。")
    assert main(["preferences", "list"]) == 0
    told = capsys.readouterr().out
    assert "sato" in told
    assert "correction: 1" in told
    file = tmp_path / "corrections.jsonl"
    assert main(["preferences", "export", "corrections", "-o", str(file)]) == 0
    (row,) = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert row["messages"][-1] == {"role": "assistant", "content": "8時25分です。"}
    assert main(["preferences", "export", "other"]) == 2
