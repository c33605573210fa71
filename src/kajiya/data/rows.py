"""A row of training data: a conversation with a name that stays the same in any file and order."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from kajiya.core.language import tr
from kajiya.data.columns import Columns
from kajiya.data.record import Record
from kajiya.tokenizer.messages import Message, Role

_SPEAKERS: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "agent": "assistant",
}
_ID_LENGTH = 200


@dataclass(frozen=True)
class Row:
    """A conversation that ends with the assistant's turn.

    `key_fact` is what an answer must contain, for evaluation; `source_row` is its row in the file.
    """

    id: str
    messages: tuple[Message, ...]
    key_fact: str = ""
    category: str = ""
    source_row: int = 0


class RowError(Exception):
    """Why a record cannot become a row: a code, the column, and words in the user's language."""

    def __init__(self, code: str, column: str, message: str) -> None:
        super().__init__(message)
        self.code, self.column, self.message = code, column, message


def make_row(record: Record, columns: Columns) -> Row:
    """The row of a record. Its texts may be empty; `check` looks at that.

    Raises `RowError`: nested, messages_form, messages_role, messages_no_assistant, messages_order.
    """
    if columns.messages is not None:
        messages = _conversation(record.values.get(columns.messages, ""), columns.messages)
        system = _text(record, columns.system)
        if system and messages[0].role != "system":
            messages = (Message("system", system), *messages)
    else:
        messages = _exchange(record, columns)
    given = _text(record, columns.id)[:_ID_LENGTH]
    return Row(
        id=given or content_id(messages),
        messages=messages,
        key_fact=_text(record, columns.key_fact),
        category=_text(record, columns.category),
        source_row=record.row,
    )


def content_id(messages: tuple[Message, ...]) -> str:
    """A name made from what is said: 16 hexadecimal digits of a SHA-256."""
    content = json.dumps(normal_form(messages), ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]


def normal_form(messages: tuple[Message, ...]) -> list[list[str]]:
    """A conversation without differences that nobody sees: width, spaces around, kinds of space."""
    return [[message.role, normal_text(message.content)] for message in messages]


def normal_text(text: str) -> str:
    """A text in NFKC, with every run of white space made one space."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def _exchange(record: Record, columns: Columns) -> tuple[Message, ...]:
    question, more = _text(record, columns.question), _text(record, columns.input)
    system = _text(record, columns.system)
    turns = [Message("system", system)] if system else []
    turns.append(
        Message("user", f"{question}\n\n{more}" if question and more else question or more)
    )
    if columns.answer is not None:
        turns.append(Message("assistant", _text(record, columns.answer)))
    return tuple(turns)


def _text(record: Record, column: str | None) -> str:
    value = "" if column is None else record.values.get(column, "")
    if isinstance(value, str):
        return value.strip()
    raise RowError(
        "nested",
        column or "",
        tr(
            "the cell holds a list or an object, where text is needed",
            "文章が必要なセルに、リストかオブジェクトが入っています",
        ),
    )


def _conversation(value: Any, column: str) -> tuple[Message, ...]:
    """A list of {role, content} (OpenAI), {from, value} (ShareGPT) or {name, text}, or it as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not value:
        raise RowError("messages_form", column, _form())
    messages = [_message(item, column) for item in value]
    while messages and messages[-1].role != "assistant":
        messages.pop()  # nothing to learn after the last answer
    if not messages:
        raise RowError(
            "messages_no_assistant",
            column,
            tr("the conversation holds no assistant turn", "会話に assistant の発言がありません"),
        )
    roles = [message.role for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if any(role != ("user", "assistant")[place % 2] for place, role in enumerate(turns)):
        raise RowError(
            "messages_order",
            column,
            tr(
                f"user and assistant must take turns, the user first; found: {', '.join(roles[:8])}",
                f"user から始めて user と assistant を交互に並べてください: {', '.join(roles[:8])}",
            ),
        )
    return tuple(messages)


def _message(item: Any, column: str) -> Message:
    if not isinstance(item, dict):
        raise RowError("messages_form", column, _form())
    speaker = item.get("role", item.get("from", item.get("name")))
    content = item.get("content", item.get("value", item.get("text")))
    if not isinstance(speaker, str) or not isinstance(content, str):
        raise RowError("messages_form", column, _form())
    role = _SPEAKERS.get(speaker.strip().lower())
    if role is None:
        raise RowError(
            "messages_role",
            column,
            tr(
                f"the role {speaker[:40]!r} is not system, user or assistant",
                f"役割 {speaker[:40]!r} は system・user・assistant のどれでもありません",
            ),
        )
    return Message(role, content.replace("\r\n", "\n").strip())


def _form() -> str:
    return tr(
        "a conversation is a list of turns, " + '[{"role": "user", "content": "…"}, …]',
        "会話は発言のリストで書きます: " + '[{"role": "user", "content": "…"}, …]',
    )
