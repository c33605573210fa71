"""Questions and their answers, as the page's script asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.server.bodies import Body
from kajiya.server.chats.conversations import ChatMessage, Conversation
from kajiya.server.console.context import the
from kajiya.server.console.events import Message, event_stream
from kajiya.server.console.pages.chat.reader import caller, conversation_of
from kajiya.server.parsing import parse

_LONGEST = 200_000  # characters of a question


class Question(Body):
    """`position` is that of an earlier question, which this one takes the place of."""

    text: str = Field(min_length=1, max_length=_LONGEST)
    position: int | None = None


async def messages(request: Request) -> Response:
    """Everything said so far."""
    conversation = await conversation_of(request)
    return JSONResponse({"messages": await told(request, conversation)})


async def ask(request: Request) -> Response:
    """A question, which is answered whether anybody waits for it or not."""
    conversation = await conversation_of(request)
    question = parse(await request.body(), Question)
    _check_models(conversation)
    chats = the(request).chats
    await chats.answering.stop(conversation)
    written = await asyncio.to_thread(
        chats.conversations.ask, conversation, question.text, question.position
    )
    await chats.answering.begin(caller(request), conversation, written)
    return JSONResponse({"messages": await told(request, conversation)})


async def again(request: Request) -> Response:
    """Other answers to the last question."""
    conversation = await conversation_of(request)
    _check_models(conversation)
    chats = the(request).chats
    await chats.answering.stop(conversation)
    written = await asyncio.to_thread(chats.conversations.ask_again, conversation)
    await chats.answering.begin(caller(request), conversation, written, again=True)
    return JSONResponse({"messages": await told(request, conversation)})


async def stop(request: Request) -> Response:
    """No more of the answers being written."""
    conversation = await conversation_of(request)
    await the(request).chats.answering.stop(conversation)
    return JSONResponse({"messages": await told(request, conversation)})


async def events(request: Request) -> Response:
    """The answers being written, from their beginnings: `text`, and `end` with all messages after the last."""
    conversation = await conversation_of(request)
    answering = the(request).chats.answering

    async def say() -> AsyncIterator[Message | None]:
        async with aclosing(answering.follow(conversation)) as pieces:
            async for piece in pieces:
                told_piece = {"id": piece.answer.message.id, "at": piece.at, "text": piece.text}
                yield Message("text", told_piece)
        yield Message("end", {"messages": await told(request, conversation)})

    return event_stream(request, say())


async def told(request: Request, conversation: Conversation) -> list[dict[str, Any]]:
    """All messages as the script shows them, with what this reader thought of them."""
    chats = the(request).chats
    said = await asyncio.to_thread(chats.conversations.messages, conversation)
    running = {answer.message.id: answer for answer in chats.answering.running(conversation)}
    opinions = await asyncio.to_thread(
        chats.preferences.of_messages, conversation.user_id, [each.id for each in said]
    )

    def one(message: ChatMessage) -> dict[str, Any]:
        made, live = message.made_by, running.get(message.id)
        lost = message.status == "running" and live is None  # its server was killed
        rating = opinions.get((message.id, "rating"))
        correction = opinions.get((message.id, "correction"))
        comparison = opinions.get((message.id, "comparison"))
        return {
            "id": message.id,
            "position": message.position,
            "side": message.side,
            "text": live.text if live else message.content,
            "status": "lost" if lost else message.status,
            "model": made.get("model", ""),
            "reference": made.get("reference", ""),
            "problem": made.get("problem", ""),
            "forgotten": made.get("forgotten", 0),
            "seconds": made.get("seconds"),
            "tokens": made.get("completion_tokens"),
            "rating": rating.verdict if rating else "",
            "correction": correction.other_answer if correction else None,
            "comparison": comparison.verdict if comparison else "",
        }

    return [one(message) for message in said]


def _check_models(conversation: Conversation) -> None:
    if not conversation.settings.models:
        raise ConfigError(
            tr("no model is chosen", "モデルが選ばれていません"),
            fix=tr("choose one first", "先にモデルを選んでください"),
        )
