"""Workers that are cancelled, killed, orphaned, or cannot load."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from kajiya.core.errors import EngineError
from kajiya.inference.bundle import ServableModel, group_by_base
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.inference.wire import Load
from support.asking import chunks_of, request, said
from support.tiny_llama import STORY
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ENDLESS = 16000


@pytest_asyncio.fixture(loop_scope="module")
async def mortal(
    tiny_model: ServableModel, small: EngineSettings, tmp_path: Path
) -> AsyncIterator[WorkerEngine]:
    """An engine of its own for a test that harms it."""
    made = WorkerEngine([tiny_model], small, log=tmp_path / "engine.log")
    await made.start()
    yield made
    await made.close()


def kill(engine: WorkerEngine) -> None:
    assert engine.process_id is not None
    os.kill(engine.process_id, signal.SIGKILL)


async def test_a_slow_reader_holds_one_merged_chunk_and_no_slot(engine: WorkerEngine) -> None:
    answer = engine.generate(request(max_tokens=200))
    first = await anext(answer)
    await until(lambda: engine.pending == 0)
    rest = [chunk async for chunk in answer]
    assert first.usage is not None
    assert len(rest) == 1
    assert (first.text + rest[0].text).startswith(STORY * 5)
    assert rest[0].finish_reason == "length"


async def test_a_killed_worker_ends_its_requests_and_comes_back(mortal: WorkerEngine) -> None:
    first = mortal.process_id
    answers = [mortal.generate(request(max_tokens=ENDLESS)) for _ in range(3)]
    for answer in answers:
        await anext(answer)
    kill(mortal)
    for answer in answers:
        with pytest.raises(EngineError, match="ended"):
            async for _ in answer:
                pass
    assert not mortal.available
    assert await said(mortal, max_tokens=2) == " the quick"
    assert mortal.available
    assert mortal.process_id != first


async def test_a_worker_that_keeps_dying_is_given_a_pause(mortal: WorkerEngine) -> None:
    for _ in range(2):
        answer = mortal.generate(request(max_tokens=ENDLESS))
        await anext(answer)
        kill(mortal)
        with pytest.raises(EngineError, match="ended"):
            async for _ in answer:
                pass
    with pytest.raises(EngineError, match="keeps failing"):
        await said(mortal)


async def test_closing_leaves_no_process_and_a_private_log(
    tiny_model: ServableModel, small: EngineSettings, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    engine = WorkerEngine([tiny_model], small, log=log)
    await chunks_of(engine, text="quicksilver")
    number = engine.process_id
    await engine.close()
    assert number is not None
    assert not psutil.pid_exists(number)
    assert log.stat().st_mode & 0o077 == 0
    assert "quicksilver" not in log.read_text()
    with pytest.raises(EngineError, match="closed"):
        await said(engine)


async def test_nobody_can_reach_the_listener_inside(engine: WorkerEngine) -> None:
    worker = psutil.Process(engine.process_id)
    assert worker.net_connections(kind="inet") == []
    named = [place.laddr for place in worker.net_connections(kind="unix") if place.laddr]
    assert len(named) == 1
    assert not Path(named[0]).parent.exists()


@pytest.mark.parametrize("damage", ["missing", "garbage", "truncated", "adapter", "tokenizer"])
async def test_a_model_that_does_not_load_says_why(
    tiny_model: ServableModel, small: EngineSettings, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "model.gguf"
    model = dataclasses.replace(tiny_model, weights=path)
    if damage == "garbage":
        path.write_bytes(b"GGUF" + b"\xff" * 1000)
    elif damage == "truncated":
        path.write_bytes(tiny_model.weights.read_bytes()[:50_000])
    elif damage == "adapter":
        path.write_bytes(b"no adapter")
        model = dataclasses.replace(tiny_model, adapters={"broken": path})
    elif damage == "tokenizer":
        model = dataclasses.replace(tiny_model, folder=tmp_path)
    engine = WorkerEngine([model], small, log=tmp_path / "log")
    with pytest.raises(EngineError) as caught:
        await engine.start()
    assert caught.value.where
    assert caught.value.fix
    assert not engine.available
    await engine.close()


_PARENT = """
import asyncio, sys
from pathlib import Path
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine

async def main():
    folder = Path(sys.argv[1])
    model = ServableModel("tiny", folder / "tiny.gguf", folder)
    engine = WorkerEngine([model], log=Path(sys.argv[2]))
    await engine.start()
    print(engine.process_id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_worker_does_not_outlive_its_parent(
    tiny_model: ServableModel, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tiny_model.folder), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(await asyncio.to_thread(parent.stdout.readline)))
        parent.kill()
        parent.wait()
    await until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


_STUBBORN = """
import time
from kajiya.inference import worker
from kajiya.inference.protocol import Capabilities

class Engine:
    capabilities = Capabilities(context_length=8, slots=1)

    def __del__(self):
        time.sleep(600)

class Loaded:
    def __init__(self, models, settings):
        self.engine = Engine()

worker.Loaded = Loaded
worker.main()
"""


async def test_a_worker_ends_though_its_engine_cannot_be_taken_apart(
    tiny_model: ServableModel, small: EngineSettings
) -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", _STUBBORN, "--fd", str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as worker:
        theirs.close()
        ours.sendall(Load(models=(tiny_model,), settings=small).line())
        assert b"ready" in ours.recv(4096)
        ours.close()
        try:
            assert await asyncio.to_thread(worker.wait, 30) == 0
        finally:
            worker.kill()


async def test_models_of_one_base_share_it_unless_adapters_clash(
    tiny_model: ServableModel, tuned_model: ServableModel, tmp_path: Path
) -> None:
    other_base = dataclasses.replace(tiny_model, name="other", weights=tmp_path / "b.gguf")
    clash = dataclasses.replace(tuned_model, name="clash", adapters={"legal": tmp_path / "a.gguf"})
    groups = group_by_base([tiny_model, other_base, tuned_model, clash])
    assert [[model.name for model in group] for group in groups] == [
        ["tiny", "tuned"],
        ["other"],
        ["clash"],
    ]
