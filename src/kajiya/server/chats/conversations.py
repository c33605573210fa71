"""Conversations in the database: each belongs to one person, and nobody else can find it.

A turn is a question at an even position and, at the next, one answer or two (sides "a" and "b"), one of
which is chosen to go on from. Knows nothing of engines; who writes the answers is `answering.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from kajiya.core.errors import ConflictError, NotFoundError
from kajiya.core.language import tr
from kajiya.server.access import clock
from kajiya.server.chats.settings import ChatSettings
from kajiya.store.database import Database
from kajiya.store.tables import CHAT_MESSAGES, CONVERSATIONS
from kajiya.tokenizer.messages import Message

# "running" may also be left by a server that was killed: then nobody is writing it.
Status = Literal["asked", "running", "stop", "length", "stopped", "failed"]
SIDES = ("a", "b")
_TITLE = 60  # characters


@dataclass(frozen=True)
class ChatMessage:
    """A question, or an answer and what made it. `side` is empty for questions."""

    id: str
    conversation_id: str
    position: int
    side: str
    content: str
    status: Status
    chosen: bool
    made_by: dict[str, Any]
    created_at: str

    @property
    def is_answer(self) -> bool:
        return self.side != ""


@dataclass(frozen=True)
class Conversation:
    """One person's conversation, without its messages."""

    id: str
    user_id: str
    title: str
    settings: ChatSettings
    created_at: str
    updated_at: str


ConversationList: TypeAlias = list[Conversation]  # `list` is a method below
Messages: TypeAlias = list[ChatMessage]


class Conversations:
    """The conversations of all people. Safe between threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, user_id: str, settings: ChatSettings) -> Conversation:
        """A new one with nothing said."""
        when = clock.moment(clock.now())
        made = Conversation(f"chat-{secrets.token_hex(8)}", user_id, "", settings, when, when)
        values = {**vars(made), "settings": settings.model_dump(mode="json")}
        with self._database.write() as connection:
            connection.execute(insert(CONVERSATIONS).values(**values))
        return made

    def list(self, user_id: str, limit: int = 200) -> ConversationList:
        """Somebody's conversations, the one that was used last first."""
        mine = CONVERSATIONS.c.user_id == user_id
        newest = (CONVERSATIONS.c.updated_at.desc(), CONVERSATIONS.c.id)
        query = select(CONVERSATIONS).where(mine).order_by(*newest).limit(limit)
        with self._database.read() as connection:
            return [_conversation(row) for row in connection.execute(query).mappings()]

    def get(self, user_id: str, id: str) -> Conversation:
        """One of somebody's own; `NotFoundError` also for another's."""
        with self._database.read() as connection:
            return _find(connection, user_id, id)

    def messages(self, conversation: Conversation) -> Messages:
        """Everything said, in order."""
        with self._database.read() as connection:
            return _messages(connection, conversation.id)

    def change(self, conversation: Conversation, settings: ChatSettings) -> None:
        """What the next answers are to be made with."""
        values = {"settings": settings.model_dump(mode="json")}
        self._update(conversation.id, values)

    def rename(self, conversation: Conversation, title: str) -> None:
        """Call it otherwise."""
        self._update(conversation.id, {"title": _title(title)})

    def remove(self, conversation: Conversation) -> None:
        """Forget it and all that was said; what was thought of it stays in the preferences."""
        with self._database.write() as connection:
            mine = CHAT_MESSAGES.c.conversation_id == conversation.id
            connection.execute(delete(CHAT_MESSAGES).where(mine))
            connection.execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation.id))

    def remove_before(self, moment: str) -> int:
        """Forget what nobody has used since `moment`; returns how many."""
        old = select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.updated_at < moment)
        with self._database.write() as connection:
            connection.execute(
                delete(CHAT_MESSAGES).where(CHAT_MESSAGES.c.conversation_id.in_(old))
            )
            gone = delete(CONVERSATIONS).where(CONVERSATIONS.c.updated_at < moment)
            return connection.execute(gone).rowcount

    def ask(
        self, conversation: Conversation, question: str, position: int | None = None
    ) -> Messages:
        """A question and empty answers, one a model; at `position` it takes the place of what is there and after.

        Raises `ConflictError` if `position` is not a question's.
        """
        with self._database.write() as connection:
            end = _end(connection, conversation.id)
            if position is None:
                position = end
            elif position % 2 or not 0 <= position < end:
                raise _changed_meanwhile()
            _cut(connection, conversation.id, position)
            _insert(connection, conversation.id, position, "", question, "asked")
            values = {"updated_at": clock.moment(clock.now())}
            if position == 0:
                values["title"] = _title(question)
            connection.execute(_update(conversation.id, values))
            return _answers(connection, conversation, position + 1)

    def ask_again(self, conversation: Conversation) -> Messages:
        """Empty answers in place of the last ones; `ConflictError` if nothing was asked."""
        with self._database.write() as connection:
            end = _end(connection, conversation.id)
            if end < 1:
                raise _changed_meanwhile()
            position = end - 1 if end % 2 == 0 else end
            _cut(connection, conversation.id, position)
            return _answers(connection, conversation, position)

    def answered(self, message: ChatMessage) -> None:
        """Keep what an answer has become. One that was removed meanwhile stays removed."""
        values = {
            "content": message.content,
            "status": message.status,
            "made_by": message.made_by,
        }
        with self._database.write() as connection:
            here = CHAT_MESSAGES.c.id == message.id
            connection.execute(update(CHAT_MESSAGES).where(here).values(**values))

    def choose(self, message: ChatMessage) -> None:
        """Go on from this answer and not from the one beside it; nothing if something was asked since."""
        here = CHAT_MESSAGES.c.conversation_id == message.conversation_id
        with self._database.write() as connection:
            if _end(connection, message.conversation_id) == message.position + 1:
                connection.execute(
                    update(CHAT_MESSAGES)
                    .where(here, CHAT_MESSAGES.c.position == message.position)
                    .values(chosen=CHAT_MESSAGES.c.id == message.id)
                )

    def message(self, user_id: str, id: str) -> tuple[Conversation, ChatMessage]:
        """One message of somebody's own conversation; `NotFoundError` also for another's."""
        query = select(CHAT_MESSAGES).where(CHAT_MESSAGES.c.id == id)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                raise _no_such(id)
            return _find(connection, user_id, row["conversation_id"]), _message(row)

    def _update(self, id: str, values: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            connection.execute(_update(id, values))


def prompt_of(
    messages: Sequence[ChatMessage], answer: ChatMessage, instruction: str, forgotten: int = 0
) -> list[Message]:
    """What `answer` answers: the instruction, what was said and chosen before, and the question.

    Without the oldest `forgotten` questions and their answers, for want of room.
    """
    said = [each for each in messages if each.position < answer.position and each.chosen]
    turns = [Message("system", instruction)] if instruction else []
    for question, reply in zip(said[::2], said[1::2], strict=False):
        if reply.content and question.position >= 2 * forgotten:  # it may have failed
            turns += [Message("user", question.content), Message("assistant", reply.content)]
    return [*turns, Message("user", said[-1].content)]


def _update(id: str, values: Mapping[str, Any]) -> Any:
    return update(CONVERSATIONS).where(CONVERSATIONS.c.id == id).values(**values)


def _find(connection: Connection, user_id: str, id: str) -> Conversation:
    mine = (CONVERSATIONS.c.id == id) & (CONVERSATIONS.c.user_id == user_id)
    row = connection.execute(select(CONVERSATIONS).where(mine)).mappings().first()
    if row is None:
        raise _no_such(id)
    return _conversation(row)


def _conversation(row: RowMapping) -> Conversation:
    return Conversation(**{**row, "settings": ChatSettings.model_validate(row["settings"])})


def _message(row: RowMapping) -> ChatMessage:
    return ChatMessage(**row)


def _messages(connection: Connection, conversation_id: str) -> Messages:
    order = (CHAT_MESSAGES.c.position, CHAT_MESSAGES.c.side)
    here = CHAT_MESSAGES.c.conversation_id == conversation_id
    query = select(CHAT_MESSAGES).where(here).order_by(*order)
    return [_message(row) for row in connection.execute(query).mappings()]


def _end(connection: Connection, conversation_id: str) -> int:
    """The position after the last message."""
    here = CHAT_MESSAGES.c.conversation_id == conversation_id
    last = connection.execute(select(func.max(CHAT_MESSAGES.c.position)).where(here)).scalar()
    return 0 if last is None else int(last) + 1


def _cut(connection: Connection, conversation_id: str, position: int) -> None:
    here = CHAT_MESSAGES.c.conversation_id == conversation_id
    connection.execute(delete(CHAT_MESSAGES).where(here, CHAT_MESSAGES.c.position >= position))


def _answers(connection: Connection, conversation: Conversation, position: int) -> Messages:
    models = conversation.settings.models
    for side, model in zip(SIDES, models, strict=False):
        _insert(connection, conversation.id, position, side, "", "running", {"model": model})
    written = _messages(connection, conversation.id)
    return [message for message in written if message.position == position]


def _insert(
    connection: Connection,
    conversation_id: str,
    position: int,
    side: str,
    content: str,
    status: Status,
    made_by: Mapping[str, Any] | None = None,
) -> None:
    connection.execute(
        insert(CHAT_MESSAGES).values(
            id=f"msg-{secrets.token_hex(8)}",
            conversation_id=conversation_id,
            position=position,
            side=side,
            content=content,
            status=status,
            chosen=side in ("", SIDES[0]),
            made_by=dict(made_by or {}),
            created_at=clock.moment(clock.now()),
        )
    )


def _title(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…"


def _no_such(id: str) -> NotFoundError:
    return NotFoundError(tr("there is no such conversation", "その会話はありません"), where=id)


def _changed_meanwhile() -> ConflictError:
    return ConflictError(
        tr("the conversation is not as it was", "会話の内容が変わっています"),
        fix=tr("load the page again", "ページを読み込み直してください"),
    )
