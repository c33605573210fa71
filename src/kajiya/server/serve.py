"""From models to a running server, and down again."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import uvicorn

from kajiya.core.errors import ConflictError
from kajiya.core.hardware import total_memory
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import Model, group_by_base
from kajiya.inference.client import RestartingEngine
from kajiya.inference.engines import engine_for
from kajiya.inference.memory import too_large
from kajiya.inference.pool import EnginePool
from kajiya.inference.protocol import EngineSettings
from kajiya.server.access.gate import Gate
from kajiya.server.app import create_app
from kajiya.server.gateway import ServedModel
from kajiya.server.keys import load_or_make_key
from kajiya.server.security import check_loopback
from kajiya.server.settings import MIB, ServerSettings
from kajiya.server.stopping import DrainingServer

_CUT_SECONDS = 1  # between telling the last answers that time is up, and closing their connections


def serve(
    models: Sequence[Model],
    workspace: Workspace,
    settings: ServerSettings | None = None,
    engine_settings: EngineSettings | None = None,
    on_ready: Callable[[str, str], None] = lambda url, key: None,
) -> None:
    """Serve `models` until interrupted, then let running answers finish for a while.

    The first is loaded at once, the others when they are first asked for. `on_ready` is given the
    address and the key when the first answers. Raises `ConflictError` for a busy port or a name given
    twice, `ConfigError` for an address that is not loopback or a key file that cannot be used,
    `ResourceError` for a model that takes more memory than is allowed, `EngineError` if the first does
    not load.
    """
    service = _Service(
        models, workspace, settings or ServerSettings(), engine_settings or EngineSettings()
    )
    with asyncio.Runner() as runner:
        try:
            # uvicorn passes the interrupt on when it has finished.
            with suppress(KeyboardInterrupt):
                runner.run(service.run(on_ready))
        finally:
            runner.run(service.close())


class _Service:
    def __init__(
        self,
        models: Sequence[Model],
        workspace: Workspace,
        settings: ServerSettings,
        engine_settings: EngineSettings,
    ) -> None:
        names = [model.name for model in models]
        for name in names:
            if names.count(name) > 1:
                raise ConflictError(
                    tr("two models have this name", "同じ名前のモデルが 2 つあります"), where=name
                )
        self._settings = settings
        self._workspace = workspace
        self._gate: Gate | None = None
        budget = settings.memory * MIB or total_memory() * 3 // 4
        self._pool = EnginePool(budget)
        self._engines = [
            (
                group,
                engine_for(
                    group,
                    engine_settings,
                    log=workspace.home / "logs" / f"engine-{number}.log",
                    max_pending=settings.max_pending,
                    admit=self._pool.admit,
                ),
            )
            for number, group in enumerate(group_by_base(models))
        ]
        for group, engine in self._engines:
            if isinstance(engine, RestartingEngine):
                if engine.needs > budget:
                    raise too_large(engine.needs, budget, group[0].name)
                self._pool.add(engine)
        self._key = load_or_make_key(workspace)
        self._socket = listen(settings.host, settings.port)

    async def run(self, on_ready: Callable[[str, str], None]) -> None:
        self._gate = Gate.open(self._key, self._workspace)
        await self._engines[0][1].start()
        served = {
            model.name: ServedModel(model, engine)
            for group, engine in self._engines
            for model in group
        }
        app = create_app(self._settings, served, self._gate, self._workspace)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_CUT_SECONDS,
        )
        server = DrainingServer(config, app.state.gateway, self._settings.drain_seconds)
        idle = asyncio.create_task(self._pool.unload_idle(self._settings.idle_minutes * 60))
        host, port = self._socket.getsockname()[:2]
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}", self._key)
        try:
            await server.serve(sockets=[self._socket])
        finally:
            idle.cancel()

    async def close(self) -> None:
        self._socket.close()
        await asyncio.gather(*(engine.close() for _, engine in self._engines))
        if self._gate:
            self._gate.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to a loopback address; `ConflictError` if the port is taken."""
    check_loopback(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
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
