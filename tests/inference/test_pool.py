"""Engines that share one budget of memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from kajiya.core.errors import ResourceError
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.pool import EnginePool
from kajiya.inference.protocol import BusyError, EngineSettings
from support.asking import request, said
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SMALL = EngineSettings(slots=2, context_length=2048, threads=1)


class Machine:
    """A budget that holds so many of the tiny engine, and engines in it."""

    def __init__(self, model: ServableModel, logs: Path, budget: float, engines: int) -> None:
        self.pool = EnginePool(int(budget))
        self.engines = [
            WorkerEngine([model], SMALL, log=logs / str(number), admit=self.pool.admit)
            for number in range(engines)
        ]
        for engine in self.engines:
            self.pool.add(engine)

    def states(self) -> list[str]:
        return [engine.state for engine in self.engines]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def size(tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes of one loaded engine."""
    engine = WorkerEngine([tiny_model], SMALL, log=tmp_path_factory.mktemp("log") / "log")
    await engine.start()
    memory = engine.memory
    await engine.close()
    return memory


@pytest_asyncio.fixture(loop_scope="module")
async def machine(
    tiny_model: ServableModel, tmp_path: Path, size: int
) -> AsyncIterator[Callable[[float, int], Machine]]:
    made: list[Machine] = []

    def make(room: float, engines: int) -> Machine:
        made.append(Machine(tiny_model, tmp_path, room * size, engines))
        return made[-1]

    yield make
    for own in made:
        await asyncio.gather(*(engine.close() for engine in own.engines))


async def test_the_one_not_used_for_longest_makes_room(
    machine: Callable[[float, int], Machine],
) -> None:
    made = machine(2.6, 3)
    first, second, third = made.engines
    assert made.states() == ["idle", "idle", "idle"]
    for engine in (first, second, first, third):
        assert await said(engine, max_tokens=2) == " the quick"
    assert made.states() == ["up", "idle", "up"]
    assert await said(second, max_tokens=2) == " the quick"
    assert made.states() == ["idle", "up", "up"]
    assert [engine.restarts for engine in made.engines] == [0, 0, 0]


async def test_what_answers_is_never_unloaded(machine: Callable[[float, int], Machine]) -> None:
    made = machine(1.6, 2)
    first, second = made.engines
    running = first.generate(request(max_tokens=1500))
    await anext(running)
    with pytest.raises(BusyError, match="memory"):
        await said(second)
    assert len([chunk async for chunk in running]) > 0
    assert await said(second, max_tokens=2) == " the quick"
    assert made.states() == ["idle", "up"]


async def test_many_who_ask_at_once_are_all_answered_or_told(
    machine: Callable[[float, int], Machine],
) -> None:
    made = machine(1.6, 3)

    async def ask(engine: WorkerEngine) -> str:
        while True:
            try:
                return await said(engine, max_tokens=2)
            except BusyError:
                await asyncio.sleep(0.01)

    answers = await asyncio.gather(*(ask(engine) for engine in made.engines * 3))
    assert set(answers) == {" the quick"}
    assert made.states().count("up") == 1


async def test_an_adapter_is_added_where_there_is_no_memory_for_two(
    machine: Callable[[float, int], Machine], tuned_model: ServableModel
) -> None:
    (engine,) = machine(1.6, 1).engines
    running = engine.generate(request(max_tokens=1500))
    await anext(running)
    with pytest.raises(BusyError, match="memory"):
        await engine.add_model(tuned_model)
    assert len([chunk async for chunk in running]) > 0
    await engine.add_model(tuned_model)
    assert await said(engine, adapters=(("legal", 1.0),), max_tokens=2) == " legal" * 2


async def test_the_guess_is_near_what_it_turns_out_to_be(
    machine: Callable[[float, int], Machine],
) -> None:
    (engine,) = machine(3, 1).engines
    guess = engine.needs
    await engine.start()
    assert 0.5 < guess / engine.memory < 2
    assert engine.needs == pytest.approx(engine.memory, rel=0.2)


async def test_what_can_never_fit_says_so(machine: Callable[[float, int], Machine]) -> None:
    made = machine(0.3, 1)
    for _ in range(2):
        with pytest.raises(ResourceError, match="MiB") as caught:
            await said(made.engines[0])
        assert "--memory" in caught.value.fix
    assert made.states() == ["idle"]


async def test_a_load_turns_out_too_large(
    machine: Callable[[float, int], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kajiya.inference.client.estimated_memory", lambda *_: 1)
    made = machine(0.3, 1)
    for _ in range(2):  # the second time by what was measured
        with pytest.raises(ResourceError, match="MiB"):
            await said(made.engines[0])
    assert made.states() == ["idle"]
    assert made.engines[0].memory == 0


async def test_idle_engines_are_unloaded_and_come_back(
    machine: Callable[[float, int], Machine],
) -> None:
    made = machine(3, 1)
    (engine,) = made.engines
    watch = asyncio.create_task(made.pool.unload_idle(0.2))
    running = engine.generate(request(max_tokens=1500))
    await anext(running)
    assert len([chunk async for chunk in running]) > 0
    await until(lambda: engine.state == "idle" and engine.memory == 0)
    assert await said(engine, max_tokens=2) == " the quick"
    watch.cancel()


async def test_who_leaves_while_it_loads_does_not_end_the_load(
    machine: Callable[[float, int], Machine],
) -> None:
    made = machine(3, 1)
    (engine,) = made.engines
    leaving = asyncio.create_task(said(engine))
    await until(lambda: engine.state == "starting")
    leaving.cancel()
    await until(lambda: engine.state == "up")
    assert await said(engine, max_tokens=2) == " the quick"
