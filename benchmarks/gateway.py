"""What the gateway costs: answers over HTTP against the same engine asked directly, and many streams at once.

The engine is ours for RWKV-7 with random weights, in its worker process on both sides; the direct side asks it
through `WorkerEngine`, as the gateway does. The client reads bytes off sockets, so that it takes little of the
machine. With `--soak`, clients come and leave at random for so many minutes instead.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from common import Result, make_random_rwkv7, options, report

# Asks for an answer of so many tokens; gives the seconds until the first and until the last.
Ask = Callable[[int], Awaitable[tuple[float, float]]]
SERVE = "--serve"  # internal: this process is the server
MIB = 1024**2
FULL = {"size": "0.1B", "batch": 8, "tokens": 256, "short": 1000, "streams": 500, "each": 64}
QUICK = {"size": "4M", "batch": 8, "tokens": 64, "short": 50, "streams": 100, "each": 16}
ALONE = "the engine alone"
CLIENTS = 32  # of a soak


def main() -> None:
    arguments = options(__doc__, soak="minutes of random requests and cancels, nothing else")
    plan: dict[str, Any] = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        make_random_rwkv7(base, plan["size"])
        if arguments.soak:
            results = asyncio.run(soak(base, Path(folder), plan, arguments.soak * 60))
        else:
            results = asyncio.run(compare(base, Path(folder), plan))
    report(results, arguments.json)


async def compare(base: Path, folder: Path, plan: dict[str, Any]) -> list[Result]:
    found: dict[str, dict[str, float]] = {}
    async with engine(base, folder) as direct:
        found["alone"] = await speeds(direct, plan)
    async with server(base, folder) as ours:
        found["gateway"] = await speeds(ours.ask, plan)
        results = await many(ours, plan)
    gateway, alone = found["gateway"], found["alone"]
    what = f"RWKV-7 {plan['size']}, {plan['batch']} streams, through the gateway"
    ratio = gateway["speed"] / alone["speed"]
    rows = [Result(what, "tokens/s", gateway["speed"], alone["speed"], ALONE, ratio, 0.95)]
    for name in ("median", "99th percentile"):
        ours_ms, peer_ms = gateway[name], alone[name]
        print(f"  added to the first token, {name}: {ours_ms - peer_ms:.2f} ms", file=sys.stderr)
        what = f"time to the first token through the gateway, {name}"
        rows.append(Result(what, "ms", ours_ms, peer_ms, ALONE, peer_ms / ours_ms, None))
    return rows + results


async def speeds(ask: Ask, plan: dict[str, Any]) -> dict[str, float]:
    """Tokens a second of several streams, the better of two runs; ms to the first token of short answers."""
    await asyncio.gather(*(ask(8) for _ in range(plan["batch"])))
    speed = 0.0
    for _ in range(2):
        started = time.perf_counter()
        await asyncio.gather(*(ask(plan["tokens"]) for _ in range(plan["batch"])))
        seconds = time.perf_counter() - started
        speed = max(speed, plan["batch"] * plan["tokens"] / seconds)
    firsts = [1000 * (await ask(1))[0] for _ in range(plan["short"])]
    last = statistics.quantiles(firsts, n=100)[98]
    return {"speed": speed, "median": statistics.median(firsts), "99th percentile": last}


async def many(ours: Server, plan: dict[str, Any]) -> list[Result]:
    """All streams at once, twice, so that what the first left behind shows in the second."""
    count, before, peak = plan["streams"], ours.memory(), 0.0
    well = 0
    for _ in range(2):
        asked = [asyncio.create_task(ours.ask(plan["each"])) for _ in range(count)]
        while not all(task.done() for task in asked):
            peak = max(peak, ours.memory())
            await asyncio.sleep(0.2)
        well += sum(task.exception() is None for task in asked)
        for error in Counter(repr(task.exception()) for task in asked if task.exception()).items():
            print(f"  lost: {error}", file=sys.stderr)
    what = f"{count} streams at once, twice"
    return [
        Result(f"{what}: not lost", "%", 50 * well / count, 100.0, "all", well / count / 2, 1.0),
        memory_row(f"{what}: the gateway's memory meanwhile", peak, before),
        memory_row(f"{what}: the gateway's memory afterwards", ours.memory(), before),
    ]


async def soak(base: Path, folder: Path, plan: dict[str, Any], seconds: float) -> list[Result]:
    """Clients that leave at any moment: is anything lost, and is all given back?"""
    async with server(base, folder) as ours:
        for _ in range(8):  # what grows once has grown before it is measured
            await ours.ask(plan["each"])
        before = ours.memory()
        ended: Counter[str] = Counter()
        until = time.monotonic() + seconds
        await asyncio.gather(*(come_and_go(ours, seed, until, ended) for seed in range(CLIENTS)))
        after, asked = ours.memory(), sum(ended.values())
        left = await ours.left_over()
    print(f"  {dict(ended)}, unfinished in the end: {left}", file=sys.stderr)
    well = (ended["whole"] + ended["left"]) / asked
    what = f"{seconds / 60:g} minutes of {CLIENTS} clients that leave at random"
    return [
        Result(f"{what}: not lost of {asked}", "%", 100 * well, 100.0, "all", well, 1.0),
        Result(f"{what}: answers still in work", "", left, 0.0, "none", float(left == 0), 1.0),
        memory_row(f"{what}: the gateway's memory", after, before),
    ]


async def come_and_go(ours: Server, seed: int, until: float, ended: Counter[str]) -> None:
    dice = random.Random(seed)
    while time.monotonic() < until:
        tokens = dice.randrange(1, 200)
        patience = dice.uniform(0, 2) if dice.random() < 0.5 else None
        try:
            await asyncio.wait_for(ours.ask(tokens, stream=dice.random() < 0.8), patience)
            ended["whole"] += 1
        except TimeoutError:
            ended["left"] += 1
        except (OSError, RuntimeError, EOFError) as error:
            ended[repr(error)] += 1


def memory_row(what: str, ours: float, before: float) -> Result:
    return Result(what, "MiB", ours, before, "before", before / ours, None)


class Server:
    """A running server, and how to ask it."""

    def __init__(self, process: subprocess.Popen[str], url: str, key: str) -> None:
        self._process = psutil.Process(process.pid)
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port, self._key = int(port), key

    def memory(self) -> float:
        """MiB of the gateway's own process."""
        return float(self._process.memory_info().rss / MIB)

    async def ask(self, tokens: int, stream: bool = True) -> tuple[float, float]:
        """See `Ask`; raises `RuntimeError` for anything but a complete answer."""
        body = {**wish(tokens), "stream": stream}
        started = time.perf_counter()
        reader, writer = await self._send("POST", "/v1/completions", json.dumps(body))
        try:
            first, last, whole = 0.0, b"", False
            async for line in reader:
                if b'"text"' in line and not first:
                    first = time.perf_counter() - started
                whole |= b'"length"' in line
                last = line if line.strip() else last
                if line.startswith(b"data: [DONE]"):
                    break
            if not whole or (stream and b"[DONE]" not in last):
                raise RuntimeError(last[:200].decode(errors="replace"))
            return first, time.perf_counter() - started
        finally:
            writer.close()

    async def left_over(self) -> float:
        """Answers that the engine still works on, once the last cancels have arrived."""
        unfinished = 0.0
        for _ in range(100):
            reader, writer = await self._send("GET", "/metrics", "")
            text = (await reader.read()).decode()
            writer.close()
            found = re.findall(r"^kajiya_engine_requests\{.*\} ([0-9.]+)$", text, re.MULTILINE)
            unfinished = sum(map(float, found))
            if not unfinished:
                break
            await asyncio.sleep(0.1)
        return unfinished

    async def _send(
        self, method: str, path: str, body: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n"
        )
        writer.write(
            f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return reader, writer


def wish(tokens: int) -> dict[str, Any]:
    return {"model": "m", "prompt": [510, 33, 1022, 98], "max_tokens": tokens, "temperature": 0}


@asynccontextmanager
async def server(base: Path, folder: Path) -> AsyncIterator[Server]:
    command = [sys.executable, __file__, SERVE, str(base), str(folder / "home")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Server(process, ready["url"], ready["key"])
        finally:
            process.terminate()


@asynccontextmanager
async def engine(base: Path, folder: Path) -> AsyncIterator[Ask]:
    from kajiya.inference.client import WorkerEngine
    from kajiya.inference.protocol import GenerateRequest

    own = WorkerEngine([model(base)], settings(), log=folder / "engine.log")
    await own.start()

    async def ask(tokens: int) -> tuple[float, float]:
        request = GenerateRequest(
            model="m", tokens=tuple(wish(tokens)["prompt"]), max_tokens=tokens, temperature=0,
            reuse_prompt=False,
        )  # fmt: skip
        first, started = 0.0, time.perf_counter()
        async for chunk in own.generate(request):
            if chunk.text and not first:
                first = time.perf_counter() - started
        if chunk.finish_reason != "length":
            raise RuntimeError(f"it ended before {tokens} tokens: {chunk.finish_reason}")
        return first, time.perf_counter() - started

    yield ask
    await own.close()


def model(base: Path) -> Any:
    from kajiya.inference.bundle import ServableModel

    return ServableModel("m", base, base, context_length=1024, engine="rwkv")


def settings() -> Any:
    from kajiya.inference.protocol import EngineSettings

    return EngineSettings(slots=32, context_length=1024)


def serve_forever(base: Path, home: Path) -> None:
    from kajiya.core.workspace import Workspace
    from kajiya.server.serve import serve
    from kajiya.server.settings import ServerSettings

    def ready(url: str, key: str) -> None:
        print(json.dumps({"url": url, "key": key}), flush=True)

    serve(
        [model(base)], Workspace(home), ServerSettings(port=0, max_pending=2000), settings(), ready
    )


if __name__ == "__main__":
    if SERVE in sys.argv:
        serve_forever(Path(sys.argv[-2]), Path(sys.argv[-1]))
    else:
        main()
