"""Adapters that come and go while an engine answers, on both engines."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from kajiya.core.errors import ConflictError, EngineError, FormatError
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings, RequestError
from support.asking import request, said
from support.reciting_rwkv import make_reciting_rwkv, make_reciting_state
from support.tiny_llama import STORY, make_adapter, make_model
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEGAL = {"adapters": (("legal", 1.0),), "max_tokens": 3}
LONG = 400


@pytest.fixture(scope="module", params=["llamacpp", "rwkv"])
def tiny_model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ServableModel:
    make = make_model if request.param == "llamacpp" else make_reciting_rwkv
    return make(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def tuned(tiny_model: ServableModel) -> ServableModel:
    """The tiny model with an adapter that makes it say " legal" for ever."""
    make = make_adapter if tiny_model.engine == "llamacpp" else make_reciting_state
    path = make(tiny_model, tiny_model.folder / "legal.adapter")
    return dataclasses.replace(tiny_model, name="tuned", adapters={"legal": path})


@pytest_asyncio.fixture(loop_scope="module")
async def bare(
    tiny_model: ServableModel, small: EngineSettings, tmp_path: Path
) -> AsyncIterator[WorkerEngine]:
    """An engine with the bare base, not loaded yet."""
    made = WorkerEngine([tiny_model], small, log=tmp_path / "engine.log")
    yield made
    await made.close()


async def test_an_adapter_comes_and_goes_under_running_answers(
    bare: WorkerEngine, tuned: ServableModel
) -> None:
    await bare.start()
    with pytest.raises(RequestError, match="legal"):
        await said(bare, **LEGAL)
    running = bare.generate(request(max_tokens=LONG))
    begun = (await anext(running)).text
    await bare.add_model(tuned)
    assert await said(bare, **LEGAL) == " legal" * 3
    assert await said(bare, model="tuned", **LEGAL) == " legal" * 3
    assert await said(bare, max_tokens=2) == " the quick"
    await bare.remove_adapter("legal")
    with pytest.raises(RequestError, match="legal"):
        await said(bare, **LEGAL)
    assert bare.available
    rest = "".join([chunk.text async for chunk in running])
    assert (begun + rest).startswith(STORY * 20)
    await bare.add_model(tuned)
    assert await said(bare, **LEGAL) == " legal" * 3


async def test_an_adapter_that_answers_stays(bare: WorkerEngine, tuned: ServableModel) -> None:
    await bare.add_model(tuned)
    running = bare.generate(request(**{**LEGAL, "max_tokens": 16000}))
    await anext(running)
    with pytest.raises(ConflictError):
        await bare.remove_adapter("legal")
    await running.aclose()
    await bare.remove_adapter("legal")
    with pytest.raises(RequestError):
        await said(bare, **LEGAL)


async def test_what_was_added_is_there_again_after_a_crash(
    bare: WorkerEngine, tuned: ServableModel
) -> None:
    await bare.add_model(tuned)
    assert bare.process_id is not None
    os.kill(bare.process_id, signal.SIGKILL)
    await until(lambda: not bare.available)
    assert bare.state == "failing"
    assert await said(bare, **LEGAL) == " legal" * 3
    assert (bare.state, bare.restarts) == ("up", 1)


async def test_a_bad_adapter_changes_nothing(
    bare: WorkerEngine, tiny_model: ServableModel, tmp_path: Path
) -> None:
    await bare.start()
    broken = tmp_path / "broken"
    if tiny_model.engine == "llamacpp":
        broken.write_bytes(b"no adapter")
    else:
        broken.mkdir()
        (broken / "state.safetensors").write_bytes(b"\x10" * 50)
    bad = dataclasses.replace(tiny_model, name="bad", adapters={"bad": broken})
    with pytest.raises(FormatError):
        await bare.add_model(bad)
    assert await said(bare, max_tokens=2) == " the quick"
    with pytest.raises(RequestError):
        await said(bare, model="bad")
    worker = bare.process_id
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    await until(lambda: not bare.available)
    assert await said(bare, max_tokens=2) == " the quick"


async def test_one_worker_is_left_in_the_end(bare: WorkerEngine, tuned: ServableModel) -> None:
    await bare.start()
    old = bare.process_id
    assert old is not None
    running = [bare.generate(request(max_tokens=LONG)) for _ in range(3)]
    begun = [(await anext(answer)).text for answer in running]
    await bare.add_model(tuned)
    assert psutil.pid_exists(old)
    for first, answer in zip(begun, running, strict=True):
        rest = "".join([chunk.text async for chunk in answer])
        assert (first + rest).startswith(STORY * 5)
    await until(lambda: bare.process_id == old or not psutil.pid_exists(old))
    assert bare.available
    assert bare.pending == 0


async def test_closing_in_the_middle_of_a_start_leaves_nothing(bare: WorkerEngine) -> None:
    starting = asyncio.create_task(bare.start())
    await until(lambda: bare.state == "starting")
    await bare.close()
    with pytest.raises(EngineError, match="closed"):
        await starting
    assert bare.memory == 0
