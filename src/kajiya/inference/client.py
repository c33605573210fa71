"""Engines in processes of their own, which are started, watched and started again."""

from __future__ import annotations

import asyncio
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from kajiya.core.errors import EngineError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.connection import Connection
from kajiya.inference.protocol import (
    BusyError,
    Capabilities,
    Embeddings,
    EmbedRequest,
    EngineSettings,
    GenerateChunk,
    GenerateRequest,
)

_LONGEST_PAUSE = 60.0


class Life(Protocol):
    """One life of an engine's process, from loaded to ended."""

    @property
    def capabilities(self) -> Capabilities:
        """What is loaded."""

    @property
    def alive(self) -> bool:
        """Whether its process is there."""

    @property
    def pending(self) -> int:
        """Requests that it has not finished."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """See `Engine.generate`."""

    async def close(self) -> None:
        """End the process and wait for it."""


AnyLife = TypeVar("AnyLife", bound=Life)


class RestartingEngine(ABC, Generic[AnyLife]):
    """An `Engine` in a process of its own, for models that share one base.

    When the process dies, its running requests end with `EngineError`; the next request starts it
    again. If that keeps failing, requests are refused for a pause that doubles each time.

    With `max_pending`, a request that finds so many unfinished ones is refused with `BusyError`.
    """

    def __init__(
        self,
        models: Sequence[ServableModel],
        settings: EngineSettings | None = None,
        *,
        log: Path,
        max_pending: int | None = None,
    ) -> None:
        self._models = tuple(models)
        self._settings = settings or EngineSettings()
        self._log = log
        self._max_pending = max_pending
        self._arriving = 0
        self._connection: AnyLife | None = None
        self._capabilities: Capabilities | None = None
        self._starting = asyncio.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._closed = False

    @abstractmethod
    async def _open(self) -> AnyLife:
        """Start the process and wait until it has loaded; `EngineError` tells why it could not."""

    async def start(self) -> None:
        """Load the models; `EngineError` tells why that failed."""
        await self._connected()

    @property
    def capabilities(self) -> Capabilities:
        """What is loaded; only after `start`."""
        assert self._capabilities is not None
        return self._capabilities

    @property
    def available(self) -> bool:
        return self._connection is not None and self._connection.alive

    @property
    def pending(self) -> int:
        return self._arriving + (self._connection.pending if self._connection else 0)

    @property
    def process_id(self) -> int | None:
        """The engine's process, while there is one."""
        return self._connection.process.pid if self._connection and self.available else None

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """See `Engine.generate`."""
        connection = await self._admitted()
        async with aclosing(connection.generate(request)) as chunks:
            async for chunk in chunks:
                yield chunk
        self._failures = 0

    async def _admitted(self) -> AnyLife:
        """Where to send one request more, unless too many are waiting."""
        if self._max_pending is not None and self.pending >= self._max_pending:
            raise BusyError(
                tr("too many requests are waiting", "順番待ちのリクエストが多すぎます"),
                fix=tr("try again soon", "少し待ってからもう一度お試しください"),
            )
        self._arriving += 1  # from here to where the connection counts it
        try:
            return await self._connected()
        finally:
            self._arriving -= 1

    async def close(self) -> None:
        self._closed = True
        async with self._starting:
            if self._connection:
                await self._connection.close()

    async def _connected(self) -> AnyLife:
        async with self._starting:
            if self._closed:
                raise EngineError(tr("the engine was closed", "エンジンは終了しました"))
            if self._connection and self._connection.alive:
                return self._connection
            if self._connection:
                await self._connection.close()
                self._connection = None
                self._count_failure()
            wait = self._not_before - time.monotonic()
            if wait > 0:
                raise EngineError(
                    tr("the engine keeps failing", "エンジンが続けて停止しています"),
                    where=str(self._log),
                    fix=tr(
                        f"try again in {wait:.0f} s", f"{wait:.0f} 秒後にもう一度お試しください"
                    ),
                )
            try:
                self._connection = await self._open()
            except EngineError:
                self._count_failure()
                raise
            self._capabilities = self._connection.capabilities
            return self._connection

    def _count_failure(self) -> None:
        """The first is forgiven; from the second in a row on, the pause doubles."""
        self._failures += 1
        pause = 0.0 if self._failures == 1 else min(_LONGEST_PAUSE, 2.0 ** (self._failures - 2))
        self._not_before = time.monotonic() + pause


class WorkerEngine(RestartingEngine[Connection]):
    """The engines of ours: llama.cpp and RWKV, in a worker process."""

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Engine.embed`."""
        connection = await self._admitted()
        embeddings = await connection.embed(request)
        self._failures = 0
        return embeddings

    async def _open(self) -> Connection:
        return await Connection.open(self._models, self._settings, self._log)
