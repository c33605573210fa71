"""From models to a running server, and down again."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import uvicorn

from kajiya.core.errors import ConflictError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import Model, group_by_base
from kajiya.inference.engines import engine_for
from kajiya.inference.protocol import EngineSettings
from kajiya.server.access.gate import Gate
from kajiya.server.app import create_app
from kajiya.server.gateway import ServedModel
from kajiya.server.keys import load_or_make_key
from kajiya.server.security import check_loopback
from kajiya.server.settings import ServerSettings

_STOP_SECONDS = 5.0


def serve(
    models: Sequence[Model],
    workspace: Workspace,
    settings: ServerSettings | None = None,
    engine_settings: EngineSettings | None = None,
    on_ready: Callable[[str, str], None] = lambda url, key: None,
) -> None:
    """Load `models`, serve them until interrupted, then let running answers finish for a while.

    `on_ready` is given the address and the key once everything is loaded. Raises `ConflictError` for
    a busy port or a name given twice, `ConfigError` for an address that is not loopback or a key
    file that cannot be used, `EngineError` for a model that does not load.
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
        self._key = load_or_make_key(workspace)
        self._socket = listen(settings.host, settings.port)
        self._engines = [
            (
                group,
                engine_for(
                    group,
                    engine_settings,
                    log=workspace.home / "logs" / f"engine-{number}.log",
                    max_pending=settings.max_pending,
                ),
            )
            for number, group in enumerate(group_by_base(models))
        ]

    async def run(self, on_ready: Callable[[str, str], None]) -> None:
        self._gate = Gate.open(self._key, self._workspace)
        served: dict[str, ServedModel] = {}
        for group, engine in self._engines:
            await engine.start()
            served |= {model.name: ServedModel(model, engine) for model in group}
        app = create_app(self._settings, served, self._gate)
        server = _Server(
            self._gate,
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=self._settings.drain_seconds,
            ),
        )
        host, port = self._socket.getsockname()[:2]
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}", self._key)
        await server.serve(sockets=[self._socket])

    async def close(self) -> None:
        self._socket.close()
        await asyncio.gather(*(engine.close() for _, engine in self._engines))
        if self._gate:
            self._gate.close()


class _Server(uvicorn.Server):
    """Writes down what was used before uvicorn passes on the signal that ends the process."""

    def __init__(self, gate: Gate, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._gate = gate

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.server_state.tasks:  # told to stop, but they have not come to it yet
            await asyncio.wait(self.server_state.tasks, timeout=_STOP_SECONDS)
        await asyncio.to_thread(self._gate.close)


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
