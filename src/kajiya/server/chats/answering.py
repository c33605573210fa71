"""Answers being written: each goes on when its reader leaves, and can be read from its beginning again.

An answer is in the database when it ends, however it ends; only a server that is killed leaves it
unfinished. Uses the gateway as any request does, so limits and usage hold here too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from kajiya.inference.protocol import GenerateRequest
from kajiya.server.access.caller import Caller
from kajiya.server.chats.conversations import (
    ChatMessage,
    Conversation,
    Conversations,
    Messages,
    Status,
    prompt_of,
)
from kajiya.server.chats.mixing import base_name
from kajiya.server.errors import ApiError, as_api_error
from kajiya.server.gateway import Gateway, ServedModel

_ANOTHER_TEMPERATURE = 0.8  # asking again at 0 would only repeat the answer
log = logging.getLogger("kajiya.server")


@dataclass
class Answer:
    """One answer in the making. `text` grows; `changed` is set and replaced whenever anything does."""

    message: ChatMessage
    text: str = ""
    status: Status = "running"
    problem: str = ""
    forgotten: int = 0
    made_by: dict[str, Any] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    complete: bool = False  # nothing more will be added; it is being written down

    def touch(self) -> None:
        """Wake who waits for more."""
        self.changed.set()
        self.changed = asyncio.Event()

    def kept(self, status: Status) -> ChatMessage:
        """As it is to be kept, having ended like this."""
        more: dict[str, Any] = {"problem": self.problem} if self.problem else {}
        more |= {"forgotten": self.forgotten} if self.forgotten else {}
        made_by = {**self.made_by, **more}
        return replace(self.message, content=self.text, status=status, made_by=made_by)


@dataclass(frozen=True)
class Piece:
    """More of an answer: `text` follows the first `at` characters; it may be empty at the beginning and end."""

    answer: Answer
    at: int
    text: str
    ended: bool


# Waits for a model, by its name, that is being prepared; raises what keeps it from coming.
Arrival = Callable[[str], Awaitable[None]]


async def _nothing_comes(name: str) -> None:
    """For a gateway whose models are all there."""


class Answering:
    """The answers that one server is writing. Belongs to one event loop."""

    def __init__(
        self, gateway: Gateway, conversations: Conversations, arrival: Arrival = _nothing_comes
    ) -> None:
        self._gateway = gateway
        self._arrival = arrival
        self._conversations = conversations
        self._answers: dict[str, Answer] = {}  # by message

    async def begin(
        self,
        caller: Caller,
        conversation: Conversation,
        messages: Messages,
        *,
        again: bool = False,
    ) -> None:
        """Write these answers of `conversation`; with `again`, others than those there were."""
        for message in messages:
            if message.is_answer:
                answer = Answer(message)
                self._answers[message.id] = answer
                work = self._write(caller, conversation, answer, again)
                answer.task = asyncio.create_task(work)
        await asyncio.sleep(0)  # a task that was never begun could not say that it was stopped

    def running(self, conversation: Conversation) -> list[Answer]:
        """What is being written there."""
        return [
            answer
            for answer in self._answers.values()
            if answer.message.conversation_id == conversation.id
        ]

    async def stop(self, conversation: Conversation) -> None:
        """End its answers where they are; what was written stays."""
        await _end(self.running(conversation))

    async def close(self) -> None:
        """End all answers, and keep what was written."""
        await _end(list(self._answers.values()))

    async def follow(self, conversation: Conversation) -> AsyncGenerator[Piece]:
        """What its answers say, each from its beginning, and on as it is written, until all have ended."""
        queue: asyncio.Queue[Piece | None] = asyncio.Queue(maxsize=1)

        async def read(answer: Answer) -> None:
            known, ended = 0, False
            while not ended:
                changed, text, ended = answer.changed, answer.text, answer.status != "running"
                await queue.put(Piece(answer, known, text[known:], ended))
                known = len(text)
                if not ended:
                    await changed.wait()
            await queue.put(None)

        readers = [asyncio.create_task(read(answer)) for answer in self.running(conversation)]
        try:
            left = len(readers)
            while left:
                item = await queue.get()
                if item is None:
                    left -= 1
                else:
                    yield item
        finally:
            for reader in readers:
                reader.cancel()

    async def _write(
        self, caller: Caller, conversation: Conversation, answer: Answer, again: bool
    ) -> None:
        started = time.monotonic()
        answer.made_by = {
            "model": answer.message.made_by["model"],
            "system": conversation.settings.instruction(),
            "sampling": conversation.settings.sampling.model_dump(mode="json"),
        }
        ended: Status = "stopped"
        try:
            ended = await self._generate(caller, conversation, answer, again)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            ended, answer.problem = "failed", as_api_error(error).message
        answer.complete = True
        answer.made_by["seconds"] = round(time.monotonic() - started, 3)
        try:
            await asyncio.to_thread(self._conversations.answered, answer.kept(ended))
        except Exception as error:
            log.error("an answer could not be kept: %s", as_api_error(error).message)
        finally:
            del self._answers[answer.message.id]
            answer.status = ended
            answer.touch()

    async def _generate(
        self, caller: Caller, conversation: Conversation, answer: Answer, again: bool
    ) -> Status:
        messages = await asyncio.to_thread(self._conversations.messages, conversation)
        await self._arrival(base_name(answer.made_by["model"]))
        served = await self._gateway.find(caller, answer.made_by["model"])
        answer.made_by["reference"] = served.model.reference
        answer.made_by["adapters"] = [list(part) for part in served.mixture]
        drawn = answer.made_by["sampling"]
        if again:
            drawn["temperature"] = drawn["temperature"] or _ANOTHER_TEMPERATURE
            drawn["seed"] = None
        limit = served.engine.capabilities.context_length
        values = {**drawn, "max_tokens": min(drawn["max_tokens"], limit)}
        # What did not fit before does not fit now.
        answer.forgotten = max(message.made_by.get("forgotten", 0) for message in messages)
        while True:
            prompt = prompt_of(messages, answer.message, answer.made_by["system"], answer.forgotten)
            request = GenerateRequest(
                model=served.model.name,
                messages=tuple(prompt),
                adapters=served.mixture,
                **values,
            )
            try:
                return await self._read(caller, served, request, answer)
            except ApiError as error:
                left = answer.message.position - 2 * answer.forgotten
                if error.code != "context_length_exceeded" or left < 2:
                    raise
                answer.forgotten += 1

    async def _read(
        self, caller: Caller, served: ServedModel, request: GenerateRequest, answer: Answer
    ) -> Status:
        reason: Status = "stop"
        async with aclosing(self._gateway.generate(caller, served, [request])) as chunks:
            async for _, chunk in chunks:
                if chunk.usage:
                    answer.made_by |= chunk.usage.model_dump()
                if chunk.text:
                    answer.text += chunk.text
                    answer.touch()
                reason = chunk.finish_reason or reason
        return reason


async def _end(answers: Sequence[Answer]) -> None:
    """One that is being written down already is let finish that."""
    running = [(answer, answer.task) for answer in answers if answer.task]
    for answer, task in running:
        if not answer.complete:
            task.cancel()
    await asyncio.gather(*(task for _, task in running), return_exceptions=True)
