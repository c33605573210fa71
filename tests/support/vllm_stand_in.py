"""What tests start where vLLM would be: `python vllm_stand_in.py serve FOLDER --uds SOCKET …`.

A gateway of ours on the tiny model in FOLDER, really run by llama.cpp, at that socket and behind the key that
vLLM reads. It answers `/health` and `/v1/completions`; what only vLLM knows is left out of the requests. No LoRA.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from itertools import pairwise
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.server.access.gate import Gate
from kajiya.server.app import create_app
from kajiya.server.gateway import ServedModel
from kajiya.server.settings import ServerSettings


class _WithoutExtras:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != "/v1/completions":
            await self._app(scope, receive, send)
            return
        body = json.loads((await receive())["body"])
        body.pop("stop_token_ids")
        body["stream_options"].pop("continuous_usage_stats")
        data = json.dumps(body).encode()
        scope["headers"] = [
            (name, str(len(data)).encode() if name == b"content-length" else value)
            for name, value in scope["headers"]
        ]
        waiting: list[Message] = [{"type": "http.request", "body": data}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)


async def _main(folder: Path, options: dict[str, str]) -> None:
    length = int(options["--max-model-len"])
    model = ServableModel(options["--served-model-name"], folder / "tiny.gguf", folder, {}, length)
    settings = EngineSettings(
        slots=int(options["--max-num-seqs"]), context_length=length, threads=1
    )
    engine = WorkerEngine([model], settings, log=folder / "stand-in.log")
    await engine.start()
    served = {model.name: ServedModel(model, engine)}
    workspace = Workspace(Path(options["--uds"]).parent / "home")
    gate = Gate.open(os.environ["VLLM_API_KEY"], workspace)
    app = _WithoutExtras(create_app(ServerSettings(), served, gate, workspace))
    config = uvicorn.Config(app, uds=options["--uds"], log_config=None, lifespan="off")
    assert stat.S_IMODE(Path(options["--uds"]).parent.stat().st_mode) == 0o700
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    if not (Path(sys.argv[2]) / "tiny.gguf").exists():
        sys.exit(f"ValueError: there is no model in {sys.argv[2]}")
    print("ready to load", flush=True)
    flags = sys.argv[3:]
    asyncio.run(_main(Path(sys.argv[2]), dict(pairwise(flags))))
