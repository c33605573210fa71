"""What people thought of answers is kept whole, goes when it is told to, and can be learnt from."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kajiya.cli.main import cli
from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.server.chats.conversations import ChatMessage, Conversations
from kajiya.server.chats.preference_export import Form, export
from kajiya.server.chats.preferences import Preference, Preferences
from kajiya.server.chats.settings import ChatSettings
from kajiya.store.database import Database

USER = "user-1"


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


@pytest.fixture
def preferences(database: Database, conversations: Conversations) -> Preferences:
    return Preferences(database, conversations)


def asked(conversations: Conversations, *models: str, question: str = "いつ?") -> list[ChatMessage]:
    made = conversations.create(USER, ChatSettings(models=models))
    answers = conversations.ask(made, question)
    for answer in answers:
        made_by = {**answer.made_by, "system": "Be kind."}
        text = f"answer {answer.side}"
        conversations.answered(replace(answer, content=text, status="stop", made_by=made_by))
    return answers


def rows(preferences: Preferences, form: Form) -> list[dict[str, Any]]:
    lines = export(preferences.list(), form, {USER: "田中"})
    return [json.loads(line) for line in lines]


def test_a_comparison_becomes_a_pair(
    preferences: Preferences, conversations: Conversations
) -> None:
    a, _ = asked(conversations, "village", "city+tone:1:0.5")
    preferences.compare(USER, a.id, "tie")
    assert rows(preferences, "pairs") == []
    preferences.compare(USER, a.id, "b")
    (pair,) = rows(preferences, "pairs")
    assert pair["prompt"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "いつ?"},
    ]
    assert pair["chosen"] == [{"role": "assistant", "content": "answer b"}]
    assert pair["rejected"] == [{"role": "assistant", "content": "answer a"}]
    assert (pair["chosen_model"], pair["rejected_model"]) == ("city+tone:1:0.5", "village")
    assert pair["user"] == "田中"
    preferences.compare(USER, a.id, "a")
    assert [each["chosen_model"] for each in rows(preferences, "pairs")] == ["village"]
    assert preferences.counts() == {"comparison": 1}


def test_ratings(preferences: Preferences, conversations: Conversations) -> None:
    (answer,) = asked(conversations, "village")
    preferences.rate(USER, answer.id, "up")
    preferences.rate(USER, answer.id, "down")
    (row,) = rows(preferences, "ratings")
    assert row["label"] is False
    assert row["completion"] == [{"role": "assistant", "content": "answer a"}]
    assert rows(preferences, "pairs") == []
    said = preferences.of_messages(USER, [answer.id])
    assert said[answer.id, "rating"].verdict == "down"
    assert preferences.of_messages("user-2", [answer.id]) == {}
    preferences.rate(USER, answer.id, "")
    assert preferences.list() == []


def test_a_correction_is_a_row_to_learn_and_a_pair(
    preferences: Preferences, conversations: Conversations
) -> None:
    (answer,) = asked(conversations, "village")
    preferences.correct(USER, answer.id, "正しくはこうです。")
    (row,) = rows(preferences, "corrections")
    assert [turn["content"] for turn in row["messages"]] == [
        *("Be kind.", "いつ?", "正しくはこうです。"),
    ]
    (pair,) = rows(preferences, "pairs")
    assert pair["chosen"][0]["content"] == "正しくはこうです。"
    assert pair["rejected"][0]["content"] == "answer a"
    preferences.correct(USER, answer.id, "answer a")
    assert preferences.list() == []
    for text in ("", " \n", "x" * 100_001):
        with pytest.raises(ConfigError):
            preferences.correct(USER, answer.id, text)


def test_corrections_can_be_learnt_from_as_they_are(
    preferences: Preferences, conversations: Conversations, tmp_path: Path
) -> None:
    (answer,) = asked(conversations, "village")
    preferences.correct(USER, answer.id, "正しくはこうです。")
    path = tmp_path / "corrections.jsonl"
    path.write_text("".join(export(preferences.list(), "corrections")), encoding="utf-8")
    result = CliRunner().invoke(cli, ["data", "check", str(path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "1 of 1 rows kept" in result.output
    assert "正しくはこうです。" in result.output


def test_only_finished_answers_of_one_s_own(
    preferences: Preferences, conversations: Conversations
) -> None:
    made = conversations.create(USER, ChatSettings(models=("village",)))
    (running,) = conversations.ask(made, "x")
    question = conversations.messages(made)[0]
    for message in (running, question):
        with pytest.raises(ConflictError):
            preferences.rate(USER, message.id, "up")
    (answer,) = asked(conversations, "village")
    with pytest.raises(ConflictError):
        preferences.compare(USER, answer.id, "a")
    with pytest.raises(NotFoundError):
        preferences.rate("user-2", answer.id, "up")
    with pytest.raises(NotFoundError):
        preferences.rate(USER, "msg-0", "up")


def test_they_outlive_conversations_and_can_be_forgotten(
    preferences: Preferences, conversations: Conversations
) -> None:
    for _ in range(3):
        (answer,) = asked(conversations, "village")
        preferences.rate(USER, answer.id, "up")
        conversation, _ = conversations.message(USER, answer.id)
        conversations.remove(conversation)
    first, *_ = preferences.list()
    preferences.remove(first.id)
    with pytest.raises(NotFoundError):
        preferences.remove(first.id)
    assert len(preferences.list("rating")) == 2
    assert preferences.list("correction") == []
    assert preferences.remove_before(first.created_at[:10]) == 0
    assert preferences.remove_before("9999") == 2
    (answer,) = asked(conversations, "village")
    preferences.rate(USER, answer.id, "up")
    assert preferences.remove_of("user-2") == 0
    assert preferences.remove_of(USER) == 1


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n\"', x鍛|"), max_size=12))
def test_no_cell_is_a_formula(text: str) -> None:
    one = Preference(
        *("id", "correction", "", text, "msg", ({"role": "user", "content": text},), text),
        *({"model": text}, text, None, "2026"),
    )
    table = "".join(export([one], "table"))
    _, row = csv.reader(io.StringIO(table.removeprefix("\ufeff"), newline=""))
    for cell in row:
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert row[6].removeprefix("'") == text or row[6] == text
