"""Answers are written to their end whoever reads them, and are there when something goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import EngineSettings
from kajiya.server.access.caller import Caller
from kajiya.server.access.gate import Gate
from kajiya.server.access.usage import used
from kajiya.server.chats.answering import Answering
from kajiya.server.chats.conversations import ChatMessage, Conversation, Conversations
from kajiya.server.chats.mixing import mixture, sliders
from kajiya.server.chats.settings import ChatSettings, Sampling
from kajiya.server.errors import ApiError
from kajiya.server.gateway import Gateway
from kajiya.server.serving import Serving
from support.tiny_artifacts import register_adapter, register_model

ME = Caller("user-1")
BRIEF = Sampling(temperature=0, max_tokens=3)


class Studio:
    """A gateway with "village", and "legal" and "tone" over it."""

    def __init__(self, workspace: Workspace) -> None:
        self.gate = Gate.open("kj-unused", workspace)
        self.gateway = Gateway({}, self.gate)
        engine = EngineSettings(slots=2, threads=1, context_length=256)
        self.serving = Serving(self.gateway, workspace, engine_settings=engine)
        self.conversations = Conversations(self.gate.database)
        self.answering = Answering(self.gateway, self.conversations, self.serving.arrival)

    def begin(self, *models: str, sampling: Sampling = BRIEF) -> Conversation:
        settings = ChatSettings(models=models, sampling=sampling, system="Be kind.")
        return self.conversations.create(ME.key_id, settings)

    async def ask(self, conversation: Conversation, question: str) -> None:
        messages = self.conversations.ask(conversation, question)
        await self.answering.begin(ME, conversation, messages)

    async def read(self, conversation: Conversation) -> dict[str, str]:
        """What a reader puts together, by side."""
        said: dict[str, str] = {}
        async for piece in self.answering.follow(conversation):
            side = piece.answer.message.side
            assert piece.at == len(said.get(side, ""))
            said[side] = said.get(side, "") + piece.text
        return said

    def answers(self, conversation: Conversation) -> list[ChatMessage]:
        return [m for m in self.conversations.messages(conversation) if m.is_answer]


@pytest.fixture
async def studio(tiny_model: ServableModel, tmp_path: Path) -> AsyncIterator[Studio]:
    workspace = Workspace(tmp_path)
    base = register_model(workspace, tiny_model, "village")
    register_adapter(workspace, base, tiny_model, "legal", " legal")
    register_adapter(workspace, base, tiny_model, "tone", " dog")
    made = Studio(workspace)
    for name in ("village", "legal", "tone"):
        await made.serving.add(name)
    yield made
    await made.answering.close()
    await made.serving.close()
    made.gate.close()


async def test_an_answer_is_read_and_kept(studio: Studio) -> None:
    conversation = studio.begin("village")
    await studio.ask(conversation, "hello")
    assert await studio.read(conversation) == {"a": " the quick brown"}
    (answer,) = studio.answers(conversation)
    assert (answer.content, answer.status) == (" the quick brown", "length")
    assert answer.made_by["reference"] == "village:1"
    assert answer.made_by["system"] == "Be kind."
    assert answer.made_by["sampling"]["max_tokens"] == 3
    assert answer.made_by["completion_tokens"] == 3
    assert await studio.read(conversation) == {}
    await asyncio.to_thread(studio.gate.close)
    (row,) = used(studio.gate.database)
    assert (row.key, row.model, row.completion_tokens) == ("user-1", "village", 3)


async def test_two_models_answer_side_by_side(studio: Studio) -> None:
    conversation = studio.begin("legal", "village+tone")
    await studio.ask(conversation, "hello")
    said = await studio.read(conversation)
    assert said["a"].startswith(" legal")
    assert said["b"].startswith(" dog")
    assert [each.made_by["model"] for each in studio.answers(conversation)] == [
        *("legal", "village+tone"),
    ]


async def test_it_goes_on_without_readers_and_two_can_read(studio: Studio) -> None:
    conversation = studio.begin("village", sampling=Sampling(temperature=0, max_tokens=60))
    await studio.ask(conversation, "hello")
    async for _ in studio.answering.follow(conversation):
        break
    first, second = await asyncio.gather(studio.read(conversation), studio.read(conversation))
    assert first == second
    assert first["a"].startswith(" the quick brown fox")
    assert studio.answers(conversation)[0].content == first["a"]


async def test_stop_keeps_what_was_written(studio: Studio) -> None:
    conversation = studio.begin("legal", sampling=Sampling(temperature=0, max_tokens=32_768))
    await studio.ask(conversation, "hello")
    async for piece in studio.answering.follow(conversation):
        if piece.text:
            break
    await studio.answering.stop(conversation)
    (kept,) = studio.answers(conversation)
    assert kept.status in ("stopped", "length")  # a busy machine may see its end first
    assert kept.content.startswith(" legal")
    assert not studio.answering.running(conversation)


async def test_stopped_before_it_began(studio: Studio) -> None:
    conversation = studio.begin("legal")
    await studio.ask(conversation, "hello")
    await studio.answering.stop(conversation)
    assert studio.answers(conversation)[0].status == "stopped"


async def test_a_model_that_is_gone_is_told(studio: Studio) -> None:
    conversation = studio.begin("hamlet")
    await studio.ask(conversation, "hello")
    await studio.read(conversation)
    (answer,) = studio.answers(conversation)
    assert answer.status == "failed"
    assert "hamlet" in answer.made_by["problem"]


async def test_an_answer_waits_for_a_model_that_is_coming(studio: Studio) -> None:
    await studio.serving.remove("tone")
    studio.serving.begin("tone")
    conversation = studio.begin("tone")
    await studio.ask(conversation, "hello")
    await studio.read(conversation)
    assert studio.answers(conversation)[0].content.startswith(" dog")


async def test_the_oldest_turns_make_room(studio: Studio) -> None:
    conversation = studio.begin("village")
    for _ in range(3):
        await studio.ask(conversation, "x" * 100)
        await studio.read(conversation)
    *_, last = studio.answers(conversation)
    assert last.status == "length"
    assert last.made_by["forgotten"] >= 1
    await studio.ask(conversation, "x" * 1000)
    await studio.read(conversation)
    *_, last = studio.answers(conversation)
    assert last.status == "failed"
    assert "256" in last.made_by["problem"]


async def test_asking_again_at_temperature_0_may_differ(studio: Studio) -> None:
    conversation = studio.begin("village", sampling=Sampling(temperature=0, seed=1, max_tokens=2))
    await studio.ask(conversation, "hello")
    await studio.read(conversation)
    messages = studio.conversations.ask_again(conversation)
    await studio.answering.begin(ME, conversation, messages, again=True)
    await studio.read(conversation)
    (answer,) = studio.answers(conversation)
    assert answer.made_by["sampling"]["temperature"] == 0.8
    assert answer.made_by["sampling"]["seed"] is None


async def test_sliders_become_names(studio: Studio) -> None:
    gateway = studio.gateway
    assert [(s.reference, s.weight, s.own) for s in sliders(gateway, ME, "legal")] == [
        ("legal:1", 1.0, True),
        ("tone:1", 0.0, False),
    ]
    assert mixture(gateway, ME, "village", {}) == "village"
    assert mixture(gateway, ME, "legal", {"legal:1": 1.0}) == "legal"
    made = mixture(gateway, ME, "legal", {"legal:1": 0.25, "tone:1": 0.5})
    assert made == "legal+legal:1:-0.75+tone:1:0.5"
    assert [s.weight for s in sliders(gateway, ME, made)] == [0.25, 0.5]
    assert mixture(gateway, ME, made, {"legal:1": 1, "tone:1": 0}) == "legal"
    for wrong in ({"tone:1": 5.0}, {"tone:1": -4.5}):
        with pytest.raises(ApiError):
            mixture(gateway, ME, "village", wrong)
    with pytest.raises(ApiError):
        mixture(gateway, ME, "hamlet", {})
