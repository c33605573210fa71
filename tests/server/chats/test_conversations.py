"""Conversations belong to one person; edits and new answers take the place of what was there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kajiya.core import language
from kajiya.core.errors import ConflictError, NotFoundError
from kajiya.server.chats.conversations import ChatMessage, Conversation, Conversations, prompt_of
from kajiya.server.chats.settings import Character, ChatSettings
from kajiya.store.database import Database

TWO = ChatSettings(models=("village", "city"))


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


def answer_all(conversations: Conversations, messages: list[ChatMessage], said: str) -> None:
    for message in messages:
        text = f"{said} {message.side}"
        conversations.answered(replace(message, content=text, status="stop"))


def contents(conversations: Conversations, conversation: Conversation) -> list[tuple[str, str]]:
    return [(each.side, each.content) for each in conversations.messages(conversation)]


def test_what_is_said_stays_in_order(conversations: Conversations) -> None:
    made = conversations.create("user-1", TWO)
    answer_all(conversations, conversations.ask(made, "一つ目の\n質問"), "one")
    answer_all(conversations, conversations.ask(made, "two"), "two")
    found = conversations.get("user-1", made.id)
    assert found.title == "一つ目の 質問"
    assert found.settings == TWO
    assert contents(conversations, made) == [
        *(("", "一つ目の\n質問"), ("a", "one a"), ("b", "one b")),
        *(("", "two"), ("a", "two a"), ("b", "two b")),
    ]


def test_an_edit_takes_the_place_of_what_follows(conversations: Conversations) -> None:
    made = conversations.create("user-1", ChatSettings(models=("village",)))
    for question in ("one", "two", "three"):
        answer_all(conversations, conversations.ask(made, question), question)
    (answer,) = conversations.ask(made, "TWO", 2)
    assert (answer.position, answer.status, answer.content) == (3, "running", "")
    assert [text for _, text in contents(conversations, made)] == ["one", "one a", "TWO", ""]
    for position in (1, 4, -2, 99):
        with pytest.raises(ConflictError):
            conversations.ask(made, "x", position)


def test_asking_again_replaces_the_last_answers_only(conversations: Conversations) -> None:
    made = conversations.create("user-1", TWO)
    with pytest.raises(ConflictError):
        conversations.ask_again(made)
    first = conversations.ask(made, "one")
    answer_all(conversations, first, "one")
    again = conversations.ask_again(made)
    assert [each.position for each in again] == [1, 1]
    assert not {each.id for each in again} & {each.id for each in first}
    answer_all(conversations, first, "late")  # what was replaced comes to nothing
    assert [text for _, text in contents(conversations, made)] == ["one", "", ""]


def test_nobody_finds_another_s(conversations: Conversations) -> None:
    mine = conversations.create("user-1", TWO)
    (message, _) = conversations.ask(mine, "secret")
    assert conversations.list("user-2") == []
    with pytest.raises(NotFoundError):
        conversations.get("user-2", mine.id)
    with pytest.raises(NotFoundError):
        conversations.message("user-2", message.id)
    assert conversations.message("user-1", message.id)[1].id == message.id


def test_removing(conversations: Conversations) -> None:
    old, new = (conversations.create("user-1", TWO) for _ in range(2))
    conversations.ask(old, "x")
    conversations.remove(old)
    assert [each.id for each in conversations.list("user-1")] == [new.id]
    assert conversations.messages(old) == []
    conversations.ask(new, "x")
    assert conversations.remove_before("2000-01-01T00:00:00.000+00:00") == 0
    assert conversations.remove_before("9999-01-01T00:00:00.000+00:00") == 1
    assert conversations.messages(new) == []


def test_the_prompt_goes_on_from_the_chosen_answer(conversations: Conversations) -> None:
    made = conversations.create("user-1", TWO)
    first = conversations.ask(made, "one")
    answer_all(conversations, first, "one")
    conversations.choose(first[1])
    (answer, _) = conversations.ask(made, "two")
    conversations.choose(first[0])  # too late: "two" was asked after "one b"
    messages = conversations.messages(made)
    said = [(each.role, each.content) for each in prompt_of(messages, answer, "Be kind.")]
    assert said == [
        ("system", "Be kind."),
        ("user", "one"),
        ("assistant", "one b"),
        ("user", "two"),
    ]
    assert [m.content for m in prompt_of(messages, answer, "", forgotten=1)] == ["two"]


def test_an_answer_that_failed_is_not_part_of_the_prompt(conversations: Conversations) -> None:
    made = conversations.create("user-1", ChatSettings(models=("village",)))
    (failed,) = conversations.ask(made, "one")
    conversations.answered(replace(failed, status="failed"))
    (answer,) = conversations.ask(made, "two")
    assert [m.content for m in prompt_of(conversations.messages(made), answer, "")] == ["two"]


def test_a_character_is_an_instruction() -> None:
    assert ChatSettings(system="Be kind.").instruction() == "Be kind."
    settings = ChatSettings(
        system="短く。",
        character=Character(
            name="コン",
            first_person="わし",
            manner="年寄り狐",
            examples="わしは狐じゃ\n\nそうじゃのう",
        ),
    )
    with language.use("ja"):
        assert settings.instruction() == (
            "あなたは「コン」です。\n一人称は「わし」です。\n性格と話し方: 年寄り狐\nせりふの例:\n"
            "- わしは狐じゃ\n- そうじゃのう\nどの回答でも、この人物になりきって話してください。\n\n短く。"
        )
