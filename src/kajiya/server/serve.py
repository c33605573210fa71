"""From models to a running server, and down again."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from kajiya.core.errors import ConflictError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import Model
from kajiya.inference.protocol import EngineSettings
from kajiya.server.access.gate import Gate
from kajiya.server.app import create_app
from kajiya.server.keys import load_or_make_key
from kajiya.server.lingering import lingering
from kajiya.server.security import check_loopback
from kajiya.server.serving import Serving
from kajiya.server.settings import ServerSettings
from kajiya.server.stopping import DrainingServer

_CUT_SECONDS = 1  # between telling the last answers that time is up, and closing their connections


def serve(
    models: Sequence[Model],
    workspace: Workspace,
    settings: ServerSettings | None = None,
    engine_settings: EngineSettings | None = None,
    on_ready: Callable[[str, str], None] = lambda url, key: None,
    front: Callable[[FastAPI], ASGIApp] = lambda app: app,
    memory: Path | None = None,
) -> None:
    """Serve `models` until interrupted, then let running answers finish for a while.

    The first is loaded at once, the others when they are first asked for. `on_ready` is given the
    address and the key when the first answers. `front` may put something around the application, whose
    `state.serving` adds and removes models. With `memory`, a file, what is added is served again by the
    next server that is given it.

    Raises `ConflictError` for a busy port or a name given twice, `ConfigError` for an address that is not
    loopback or a key file that cannot be used, `ResourceError` for a model that takes more memory than is
    allowed, `EngineError` if the first does not load.
    """
    service = _Service(
        models,
        workspace,
        settings or ServerSettings(),
        engine_settings or EngineSettings(),
        memory,
    )
    with asyncio.Runner() as runner:
        try:
            # uvicorn passes the interrupt on when it has finished.
            with suppress(KeyboardInterrupt):
                runner.run(service.run(on_ready, front))
        finally:
            runner.run(service.close())


class _Service:
    def __init__(
        self,
        models: Sequence[Model],
        workspace: Workspace,
        settings: ServerSettings,
        engine_settings: EngineSettings,
        memory: Path | None,
    ) -> None:
        self._models = models
        self._settings = settings
        self._engine_settings = engine_settings
        self._workspace = workspace
        self._memory = memory
        self._gate: Gate | None = None
        self._serving: Serving | None = None
        self._key = load_or_make_key(workspace)
        self._socket = listen(settings.host, settings.port)

    async def run(
        self, on_ready: Callable[[str, str], None], front: Callable[[FastAPI], ASGIApp]
    ) -> None:
        self._gate = Gate.open(self._key, self._workspace)
        app = create_app(self._settings, {}, self._gate, self._workspace)
        serving = self._serving = app.state.serving = Serving(
            app.state.gateway,
            self._workspace,
            self._settings,
            self._engine_settings,
            memory=self._memory,
        )
        serving.open(self._models)
        for first in self._models[:1]:
            await serving.load(first.name)
        serving.restore()
        config = uvicorn.Config(
            lingering(front(app)),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_CUT_SECONDS,
        )
        server = DrainingServer(config, app.state.gateway, self._settings.drain_seconds)
        idle = asyncio.create_task(serving.unload_idle())
        host, port = self._socket.getsockname()[:2]
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}", self._key)
        try:
            await server.serve(sockets=[self._socket])
        finally:
            idle.cancel()

    async def close(self) -> None:
        self._socket.close()
        if self._serving:
            await self._serving.close()
        if self._gate:
            self._gate.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to a loopback address; `ConflictError` if the port is taken."""
    check_loopback(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol spelt out asyncio turns Nagle's algorithm off; without, answers wait for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ConflictError(
            tr(f"port {port} is taken", f"ポート {port} は使われています"),
            where=f"{host}:{port}",
            fix=tr(
                "stop the other program, or choose another port (0 picks a free one)",
                "使っているプログラムを止めるか、別のポートを指定してください(0 なら空きを選びます)",
            ),
        ) from None
    return listener
