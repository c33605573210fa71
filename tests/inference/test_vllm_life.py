"""vLLM's process as we start, watch and end it, with a gateway of ours in the place of vLLM's server."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from kajiya.core.errors import EngineError, FormatError, ResourceError
from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import EngineSettings, RequestError
from kajiya.inference.vllm import VllmEngine
from kajiya.inference.vllm_command import ENVIRONMENT, find_vllm
from support import vllm_stand_in
from support.asking import chunks_of, request, said
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ENDLESS = 16000


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command that is found as vLLM."""
    path = tmp_path / "vllm"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{vllm_stand_in.__file__}" "$@"\n')
    path.chmod(0o700)
    monkeypatch.setenv(ENVIRONMENT, str(path))
    return path


@pytest.fixture
def model(tiny_model: ServableModel) -> ServableModel:
    return dataclasses.replace(tiny_model, weights=tiny_model.folder, engine="vllm")


@pytest_asyncio.fixture(loop_scope="module")
async def mortal(
    command: Path, model: ServableModel, small: EngineSettings, tmp_path: Path
) -> AsyncIterator[VllmEngine]:
    made = VllmEngine([model], small, log=tmp_path / "engine.log")
    await made.start()
    yield made
    await made.close()


def family(engine: VllmEngine) -> list[psutil.Process]:
    """The guardian, the server, and what the server started."""
    guardian = psutil.Process(engine.process_id)
    return [guardian, *guardian.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def kill_server(engine: VllmEngine) -> None:
    server = family(engine)[1]
    os.kill(server.pid, signal.SIGKILL)


async def test_it_answers_and_ends_without_a_trace(mortal: VllmEngine, tmp_path: Path) -> None:
    chunks = await chunks_of(mortal, max_tokens=4)
    assert "".join(chunk.text for chunk in chunks) == " the quick brown fox"
    assert chunks[0].usage is not None
    assert chunks[0].usage.prompt_tokens > 0  # we count, before anything is sent
    processes = family(mortal)
    assert len(processes) == 3
    sockets = [
        place.laddr
        for place in processes[1].net_connections(kind="unix")
        if place.laddr and place.laddr.endswith("vllm.sock")
    ]
    assert processes[1].net_connections(kind="inet") == []
    folder = Path(sockets[0]).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    key = processes[1].environ()["VLLM_API_KEY"]
    assert not any(key in word for process in processes for word in process.cmdline())
    await mortal.close()
    assert gone(processes)
    assert not folder.exists()
    log = tmp_path / "engine.log"
    assert log.stat().st_mode & 0o077 == 0
    assert key not in log.read_text()


async def test_a_killed_server_ends_its_requests_and_comes_back(mortal: VllmEngine) -> None:
    before = family(mortal)
    answer = mortal.generate(request(max_tokens=ENDLESS))
    await anext(answer)
    kill_server(mortal)
    with pytest.raises(EngineError, match="ended"):
        async for _ in answer:
            pass
    assert not mortal.available
    assert mortal.pending == 0
    assert await said(mortal, max_tokens=2) == " the quick"
    assert gone(before)
    kill_server(mortal)
    await until(lambda: not mortal.available)
    answer = mortal.generate(request(max_tokens=ENDLESS))
    await anext(answer)
    kill_server(mortal)
    with pytest.raises(EngineError, match="ended"):
        async for _ in answer:
            pass
    with pytest.raises(EngineError, match="keeps failing"):
        await said(mortal)


async def test_a_server_whose_engine_died_is_replaced(mortal: VllmEngine) -> None:
    before = family(mortal)
    answer = mortal.generate(request(max_tokens=ENDLESS))
    await anext(answer)
    os.kill(before[2].pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="ended"):
        async for _ in answer:
            pass
    assert not mortal.available
    assert await said(mortal, max_tokens=2) == " the quick"
    assert gone(before)


async def test_one_adapter_in_full(
    mortal: VllmEngine, model: ServableModel, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="unknown"):
        await said(mortal, adapters=(("unknown", 1.0),))
    await mortal.remove_adapter("unknown")  # none is there, which is what was wanted
    legal = dataclasses.replace(model, name="legal", adapters={"legal": tmp_path})
    with pytest.raises(FormatError, match="404"):  # the stand-in cannot
        await mortal.add_model(legal)
    assert mortal.capabilities.adapters == ()
    assert await said(mortal, max_tokens=2) == " the quick"


async def test_a_start_that_fails_says_why(
    command: Path, model: ServableModel, small: EngineSettings, tmp_path: Path
) -> None:
    empty = dataclasses.replace(model, weights=tmp_path)
    engine = VllmEngine([empty], small, log=tmp_path / "engine.log")
    with pytest.raises(EngineError) as caught:
        await engine.start()
    assert caught.value.fix == f"ValueError: there is no model in {tmp_path}"
    assert not engine.available
    await engine.close()


async def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "nowhere"))
    with pytest.raises(ResourceError, match="nowhere"):
        find_vllm()
    found = tmp_path / "vllm"
    found.write_text("#!/bin/sh\n")
    found.chmod(0o700)
    monkeypatch.delenv(ENVIRONMENT)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert find_vllm() == str(found)


_PARENT = """
import asyncio, sys
from pathlib import Path
from kajiya.inference.bundle import ServableModel
from kajiya.inference.vllm import VllmEngine

async def main():
    folder = Path(sys.argv[1])
    model = ServableModel("tiny", folder, folder, engine="vllm")
    engine = VllmEngine([model], log=Path(sys.argv[2]))
    await engine.start()
    print(engine.process_id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_nothing_outlives_a_killed_parent(
    command: Path, model: ServableModel, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(model.folder), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        guardian = psutil.Process(int(await asyncio.to_thread(parent.stdout.readline)))
        processes = [guardian, *guardian.children(recursive=True)]
        assert len(processes) == 3
        parent.kill()
        parent.wait()
    await until(lambda: gone(processes))
