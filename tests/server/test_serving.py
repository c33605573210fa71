"""Models that come and go while a server runs, and are there again after the next start."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from kajiya.core.errors import ConflictError, NotFoundError, ResourceError
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import RestartingEngine
from kajiya.inference.protocol import EngineSettings, GenerateRequest
from kajiya.inference.servable import resolve_servable
from kajiya.server.access.gate import Gate
from kajiya.server.gateway import Gateway
from kajiya.server.serving import Coming, Serving
from kajiya.server.settings import ServerSettings
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.messages import Message
from support.tiny_artifacts import register_adapter, register_model

SMALL = EngineSettings(slots=1, threads=1, context_length=16384)


@pytest.fixture(scope="module")
def workspace(tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Bases "village" and "city", and adapters "legal" and "tone" over the first."""
    made = Workspace(tmp_path_factory.mktemp("home"))
    base = register_model(made, tiny_model, "village")
    register_model(made, tiny_model, "city")
    register_adapter(made, base, tiny_model, "legal", " legal")
    register_adapter(made, base, tiny_model, "tone", " dog")
    return made


@asynccontextmanager
async def serving(workspace: Workspace, **options: Any) -> AsyncIterator[Serving]:
    memory = options.pop("memory_file", None)
    settings = ServerSettings.checked({"drain_seconds": 0, **options})
    gateway = Gateway({}, cast(Gate, None))
    made = Serving(gateway, workspace, settings, SMALL, memory=memory)
    try:
        yield made
    finally:
        await made.close()


async def said(one: Serving, name: str) -> str:
    served = one.gateway.models[name]
    request = GenerateRequest(
        model=served.model.name,
        messages=(Message("user", "hello"),),
        adapters=served.mixture,
        max_tokens=1,
        temperature=0,
    )
    async with aclosing(served.engine.generate(request)) as chunks:
        return "".join([chunk.text async for chunk in chunks])


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_models_are_added_and_share_their_base(workspace: Workspace) -> None:
    async with serving(workspace) as one:
        await one.add("village")
        (engine,) = one.gateway.engines.values()
        assert engine.state == "idle"  # loaded when it is asked for
        assert await said(one, "village") == " the"
        await one.add("legal")
        assert list(one.gateway.engines.values()) == [engine]
        assert await said(one, "legal") == " legal"
        await one.add("city")
        assert list(one.gateway.engines) == [0, 1]
        assert await said(one, "city") == " the"


async def test_what_cannot_be_served_changes_nothing(workspace: Workspace) -> None:
    async with serving(workspace) as one:
        await one.add("village")
        with pytest.raises(ConflictError, match="served already"):
            await one.add("village")
        with pytest.raises(NotFoundError):
            await one.add("hamlet")
        assert list(one.gateway.models) == ["village"]
    async with serving(workspace, memory=1) as one:
        with pytest.raises(ResourceError):
            await one.add("village")
        assert not one.gateway.models
        assert not one.gateway.engines


async def test_what_is_served_may_be_asked_for_again(workspace: Workspace, tmp_path: Path) -> None:
    memory = tmp_path / "serving.json"
    async with serving(workspace, memory_file=memory) as one:
        await one.add("legal")
        one.begin("legal")
        await until(lambda: not one.coming)
        # A newer version that cannot be had keeps nobody from the one that is served.
        one.coming["legal"] = Coming("legal", ResourceError("too large"))
        await one.arrival("legal")
        one.forget("legal")
        assert not one.coming
        assert json.loads(memory.read_text())["models"] == {"legal": "legal:1"}


async def test_models_are_taken_down(workspace: Workspace) -> None:
    async with serving(workspace) as one:
        one.open([resolve_servable(name, workspace) for name in ("village", "legal")])
        assert await said(one, "legal") == " legal"
        (engine,) = one.gateway.engines.values()
        await one.remove("legal")
        assert list(one.gateway.models) == ["village"]
        assert one.gateway.adapters(engine) == []
        assert await said(one, "village") == " the"
        await one.add("legal")
        assert await said(one, "legal") == " legal"
        await one.remove("village")
        assert await said(one, "legal") == " legal"
        await one.remove("legal")
        assert not one.gateway.models
        assert not one.gateway.engines
        assert engine.state != "up"
        with pytest.raises(NotFoundError):
            await one.remove("legal")


async def test_one_that_answers_stays(workspace: Workspace) -> None:
    async with serving(workspace) as one:
        one.open([resolve_servable(name, workspace) for name in ("village", "legal")])
        for name in ("village", "legal"):
            served = one.gateway.models[name]
            request = GenerateRequest(
                model=name, messages=(Message("user", "hello"),), adapters=served.mixture
            )
            async with aclosing(served.engine.generate(request)) as chunks:
                await anext(chunks)
                if name == "legal":  # whose engine has another model
                    with pytest.raises(ConflictError, match="answering"):
                        await one.remove(name)
                    assert name in one.gateway.models
                    with pytest.raises(ConflictError, match="answering"):
                        await one.unload(name)
        await until(lambda: not one.gateway.models["legal"].engine.pending)
        await one.remove("legal")


async def test_memory_is_given_back_and_taken_again(workspace: Workspace) -> None:
    async with serving(workspace) as one:
        await one.add("village")
        engine = one.gateway.models["village"].engine
        assert isinstance(engine, RestartingEngine)
        await one.load("village")
        assert engine.state == "up"
        assert engine.memory > 10**6
        await one.unload("village")
        assert engine.state == "idle"
        assert engine.memory == 0
        await one.load("village")
        assert engine.state == "up"


async def test_the_same_is_served_after_a_restart(
    workspace: Workspace, tiny_model: ServableModel, tmp_path: Path
) -> None:
    base = ArtifactStore(workspace).get("village", "model")
    register_adapter(workspace, base, tiny_model, "season", " fox")
    memory = tmp_path / "serving.json"
    async with serving(workspace, memory_file=memory) as one:
        for name in ("village", "season", "city", "tone"):
            await one.add(name)
        await one.remove("city")
    register_adapter(workspace, base, tiny_model, "season", " lazy")
    ArtifactStore(workspace).remove("tone:1", "adapter")
    async with serving(workspace, memory_file=memory) as one:
        one.restore()
        assert set(one.coming) == {"village", "season", "tone"}
        await until(lambda: "season" in one.gateway.models)
        assert set(one.gateway.models) == {"village", "season"}
        assert len(one.gateway.engines) == 1
        assert one.gateway.models["season"].engine.state == "idle"
        assert await said(one, "season") == " fox"  # the version that was served
        problem = one.coming["tone"].problem
        assert problem is not None
        assert "tone:1" in problem.message
        assert set(json.loads(memory.read_text())["models"]) == {"village", "season", "tone"}
        one.forget("tone")
        assert set(json.loads(memory.read_text())["models"]) == {"village", "season"}
    base_again = ArtifactStore(workspace).get("village", "model")
    register_adapter(workspace, base_again, tiny_model, "tone", " dog")


async def test_a_newer_version_takes_the_place_of_the_old_one(
    workspace: Workspace, tiny_model: ServableModel
) -> None:
    base = ArtifactStore(workspace).get("village", "model")
    register_adapter(workspace, base, tiny_model, "weather", " fox")
    async with serving(workspace) as one:
        await one.add("village")
        await one.add("weather")
        assert await said(one, "weather") == " fox"
        register_adapter(workspace, base, tiny_model, "weather", " lazy")
        await one.add("weather")
        assert await said(one, "weather") == " lazy"
        (engine,) = one.gateway.engines.values()
        assert one.gateway.adapters(engine) == ["weather:2"]
        assert engine.capabilities.adapters == ("weather:2",)
        assert await said(one, "village") == " the"
        with pytest.raises(ConflictError, match="served already"):
            await one.add("weather")


async def test_who_wants_a_model_that_is_coming_waits_for_it(workspace: Workspace) -> None:
    async with serving(workspace) as one:
        one.begin("village")
        one.begin("hamlet")
        await one.arrival("village")
        assert "village" in one.gateway.models
        with pytest.raises(NotFoundError):
            await one.arrival("hamlet")
        await one.arrival("nobody asked for this")


@pytest.mark.parametrize("text", ["", "[]", '{"models": 3}', "\ufffd\0"])
async def test_a_damaged_memory_serves_nothing(
    workspace: Workspace, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = tmp_path / "serving.json"
    memory.write_text(text)
    async with serving(workspace, memory_file=memory) as one:
        with caplog.at_level(logging.ERROR):
            one.restore()
        assert not one.coming
        assert "serving.json" in caplog.text


async def test_in_the_background(workspace: Workspace) -> None:
    async with serving(workspace) as one:
        one.begin("village")
        one.begin("village")
        one.begin("hamlet")
        assert {name: coming.problem for name, coming in one.coming.items()} == {
            "village": None,
            "hamlet": None,
        }
        await until(lambda: "village" in one.gateway.models and one.coming["hamlet"].problem)
        assert list(one.coming) == ["hamlet"]
        one.forget("hamlet")
        assert not one.coming
