"""A real server in a process of its own: `python tiny_server.py FOLDER HOME OPTIONS`.

Prints one line of JSON when it is ready. OPTIONS is JSON with "server" and "engine" settings,
"wide", the name of a third model, "names", artifacts of the workspace to serve instead, "database", the
URL of one for keys and usage, and "clock", a file with the seconds by which somebody moved the clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil


@dataclass
class Running:
    """A server that tests talk to."""

    url: str
    key: str
    process: subprocess.Popen[str]
    home: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def openai(self, **options: Any) -> openai.OpenAI:
        options = {"api_key": self.key, "max_retries": 0, "timeout": 60, **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, **{"headers": self.headers, **options})

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, **{"headers": self.headers, "timeout": 60, **options})

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@contextlib.contextmanager
def running(folder: Path, home: Path, **options: Any) -> Iterator[Running]:
    """A server for the models in `folder`, until the block ends."""
    command = [sys.executable, __file__, str(folder), str(home), json.dumps(options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Running(ready["url"], ready["key"], process, home)
    finally:
        process.terminate()
        process.communicate()


def _main(folder: Path, home: Path, options: dict[str, Any]) -> None:
    if "database" in options:
        os.environ["KAJIYA_DATABASE_URL"] = options["database"]
    if "clock" in options:
        true, moved = time.time, Path(options["clock"])
        time.time = lambda: true() + float(moved.read_text())

    from kajiya.core.workspace import Workspace
    from kajiya.inference.bundle import ServableModel
    from kajiya.inference.protocol import EngineSettings
    from kajiya.inference.servable import resolve_servable
    from kajiya.server.serve import serve
    from kajiya.server.settings import ServerSettings

    base = ServableModel("tiny", folder / "tiny.gguf", folder, context_length=16384)
    adapters = {"legal": folder / "legal.gguf"}
    tuned = ServableModel("org/tuned:1", base.weights, folder, adapters, 16384)
    # A name as long as this makes every event long: few of them fill the buffers of a connection.
    wide = ServableModel(options.get("wide", "wide"), base.weights, folder, {}, 16384)
    engine = {"threads": 1, "context_length": 16384, **options.get("engine", {})}
    workspace = Workspace(home)
    recurrent = ServableModel("tiny", folder, folder, context_length=16384, engine="rwkv")
    named = [resolve_servable(name, workspace) for name in options.get("names", ())]
    serve(
        named or ([base, tuned, wide] if base.weights.is_file() else [recurrent]),
        workspace,
        ServerSettings.checked({"port": 0, **options.get("server", {})}),
        EngineSettings.checked(engine),
        lambda url, key: print(json.dumps({"url": url, "key": key}), flush=True),
    )


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
