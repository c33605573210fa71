"""Engines in processes of their own, which are started, watched and started again."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from kajiya.core.errors import ConflictError, EngineError, FormatError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.connection import Connection
from kajiya.inference.life import AnyLife
from kajiya.inference.memory import estimated_memory, still_to_come, too_large
from kajiya.inference.protocol import (
    BusyError,
    Capabilities,
    Embeddings,
    EmbedRequest,
    EngineSettings,
    EngineState,
    GenerateChunk,
    GenerateRequest,
    check_queue,
)

_LONGEST_PAUSE = 60.0
# Entered before a process starts and left when it has loaded: gives the bytes that it may take.
Admission = Callable[["RestartingEngine[Any]"], AbstractAsyncContextManager[float]]


def unlimited(engine: RestartingEngine[Any]) -> AbstractAsyncContextManager[float]:
    """The `Admission` of an engine that has the machine for itself."""
    return nullcontext(math.inf)


class RestartingEngine(ABC, Generic[AnyLife]):
    """An `Engine` in a process of its own, for models that share one base.

    The first request starts the process, and one after it died or was unloaded starts it again. When it
    dies, its running requests end with `EngineError`; if that keeps happening, requests are refused for
    a pause that doubles each time. Belongs to one event loop.

    With `max_pending`, a request that finds so many unfinished ones is refused with `BusyError`.
    """

    def __init__(
        self,
        models: Sequence[ServableModel],
        settings: EngineSettings | None = None,
        *,
        log: Path,
        max_pending: int | None = None,
        admit: Admission = unlimited,
    ) -> None:
        self._models = tuple(models)
        self._settings = settings or EngineSettings()
        self._log = log
        self._max_pending = max_pending
        self._admit = admit
        self._arriving = 0
        self._connection: AnyLife | None = None
        self._opening: asyncio.Task[AnyLife] | None = None
        self._retiring: dict[AnyLife, asyncio.Task[None] | None] = {}
        self._changing = asyncio.Lock()  # one adapter comes or goes at a time
        self._wanted: Counter[str] = Counter()  # adapters of the requests there are
        self._capabilities: Capabilities | None = None
        self._measured = 0
        self._failures = 0
        self._not_before = 0.0
        self._closed = False
        self.restarts = 0
        self.last_used = time.monotonic()

    @abstractmethod
    async def _life(self, models: tuple[ServableModel, ...]) -> AnyLife:
        """A process in which `models` are loaded; `EngineError` tells why there is none."""

    @abstractmethod
    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Engine.embed`."""

    @property
    def models(self) -> tuple[ServableModel, ...]:
        """What it serves, loaded or not."""
        return self._models

    @property
    def capabilities(self) -> Capabilities:
        """See `Engine.capabilities`."""
        assert self._capabilities is not None
        return self._capabilities

    @property
    def available(self) -> bool:
        """See `Engine.available`."""
        return self._connection is not None and self._connection.alive

    @property
    def state(self) -> EngineState:
        """See `Engine.state`."""
        if self.available:
            return "up"
        if self._opening:
            return "starting"
        return "failing" if self._failures or self._connection else "idle"

    @property
    def pending(self) -> int:
        """See `Engine.pending`."""
        return self._arriving + sum(connection.pending for connection in self._connections())

    @property
    def process_id(self) -> int | None:
        """The engine's process, while there is one."""
        return self._connection.process.pid if self._connection and self.available else None

    @property
    def needs(self) -> int:
        """Bytes that the models take when loaded: measured, if they ever were."""
        return self._measured or estimated_memory(self._models, self._settings)

    @property
    def memory(self) -> int:
        """Bytes that its processes have in memory now."""
        return sum(connection.memory() for connection in self._connections())

    @property
    def restful(self) -> bool:
        """Whether it is loaded and nobody would notice if it were not."""
        return self.available and not self.pending and not self._changing.locked()

    async def start(self) -> None:
        """See `Engine.start`: loads the models if they never were."""
        if self._capabilities is None:
            await self.load()

    async def load(self) -> None:
        """Have the models in memory, as the next request would."""
        with self._arrival():
            await self._connected()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """See `Engine.generate`."""
        async with (
            self._serving([name for name, _ in request.adapters]) as connection,
            aclosing(connection.generate(request)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    @asynccontextmanager
    async def _serving(self, adapters: Sequence[str]) -> AsyncIterator[AnyLife]:
        """The process for one request that needs `adapters`, which are not unloaded meanwhile."""
        self._wanted.update(adapters)
        try:
            with self._arrival():  # from here to where the connection counts it
                connection = await self._connected()
            try:
                yield connection
                self._failures = 0
            finally:
                self._let_go(connection)
        finally:
            self._wanted.subtract(adapters)
            self.last_used = time.monotonic()

    async def add_model(self, model: ServableModel) -> None:
        """Serve one more model of this base, loading the adapters that are new; running answers go on.

        An engine that cannot do that while it runs is replaced by one with the wider set: new requests
        go there, and the old one ends with its last answer. Raises `FormatError` or `ConflictError` for
        an adapter that does not fit, `BusyError` if there is no memory for both at the moment.
        """
        others = tuple(own for own in self._models if own.name != model.name)
        async with self._changing:
            await self._opened()
            if self._connection and self.available and self.capabilities.takes_adapters:
                await self._connection.add(model)
                self._capabilities = self._connection.capabilities
                self._models = (*others, model)
                return
            try:
                await self._switch((*others, model))
            except EngineError as error:
                raise FormatError(
                    tr(
                        f"the engine cannot load it: {error.message}",
                        f"エンジンが読み込めません: {error.message}",
                    ),
                    where=model.name,
                ) from None

    async def remove_adapter(self, name: str) -> None:
        """Serve no model with this adapter any more, and give its memory back.

        Raises `ConflictError` while a request needs it, `BusyError` as `add_model`.
        """
        async with self._changing:
            await self._opened()
            if self._wanted[name]:
                raise ConflictError(
                    tr("it is answering requests", "回答の生成に使われています"),
                    where=name,
                    fix=tr("try again when they have ended", "終わってからもう一度お試しください"),
                )
            kept = tuple(
                replace(model, adapters={k: v for k, v in model.adapters.items() if k != name})
                for model in self._models
            )
            if self._connection is None or not self.available:
                self._models = kept
            elif self.capabilities.takes_adapters:
                await self._connection.remove_adapter(name)
                self._capabilities = self._connection.capabilities
                self._models = kept
            else:
                await self._switch(kept)

    async def unload(self) -> None:
        """Give the memory back until the next request, unless there is work."""
        if self._connection and self.restful:
            await self._retire()

    async def close(self) -> None:
        """Stop everything and give the memory back."""
        self._closed = True
        if self._opening:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._connection:
            await self._connection.close()
        await asyncio.gather(*(connection.close() for connection in self._retiring))

    def _connections(self) -> list[AnyLife]:
        return [*self._retiring, *([self._connection] if self._connection else [])]

    @contextmanager
    def _arrival(self) -> Iterator[None]:
        """Counted as pending, unless there are too many already."""
        check_queue(self.pending, self._max_pending)
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    async def _connected(self) -> AnyLife:
        """The worker, started if there is none; the start goes on when who waits for it leaves."""
        if self._connection and self._connection.alive:
            return self._connection
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.create_task(self._reconnect())
            opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                self._check_open()
            raise

    async def _opened(self) -> None:
        """Wait for a start that is under way."""
        if self._opening:
            await asyncio.wait([self._opening])

    async def _reconnect(self) -> AnyLife:
        try:
            self._check_open()
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
                self._connection = await self._open(self._models)
            except EngineError:
                self._count_failure()
                raise
            self.restarts += self._failures > 0
            self._capabilities = self._connection.capabilities
            return self._connection
        finally:
            self._opening = None

    async def _open(self, models: tuple[ServableModel, ...]) -> AnyLife:
        """A worker with `models`, within the memory there is for it."""
        self._check_open()
        async with self._admit(self) as limit:
            connection = await self._life(models)
            self._measured = connection.memory() + still_to_come(models[0], self._settings)
            if self._measured > limit:
                await connection.close()
                raise too_large(self._measured, limit)
        self.last_used = time.monotonic()
        return connection

    async def _switch(self, models: tuple[ServableModel, ...]) -> None:
        """Go on with a new worker for `models`; the old one, if any, ends with its last answer."""
        try:
            connection = await self._open(models)
        except BusyError:  # no memory for two: then one after the other, if nobody is answered
            if not self._connection or self.pending:
                raise
            await self._retire()
            connection = await self._open(models)
        await self._opened()
        old, self._connection = self._connection, connection
        self._models, self._capabilities = models, connection.capabilities
        if old:
            self._retiring[old] = None
            self._let_go(old)

    async def _retire(self) -> None:
        """End the worker, which has nothing to do, and wait for that."""
        old, self._connection = self._connection, None
        self._failures = 0
        if old:
            self._retiring[old] = None
            self._let_go(old)
            if ending := self._retiring.get(old):
                await ending

    def _let_go(self, connection: AnyLife) -> None:
        """End a worker that was replaced when it has nothing left to do."""
        if connection in self._retiring and not connection.pending:
            self._retiring[connection] = self._retiring[connection] or asyncio.create_task(
                self._end(connection)
            )

    async def _end(self, connection: AnyLife) -> None:
        await connection.close()
        del self._retiring[connection]

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError(tr("the engine was closed", "エンジンは終了しました"))

    def _count_failure(self) -> None:
        """The first is forgiven; from the second in a row on, the pause doubles."""
        self._failures += 1
        pause = 0.0 if self._failures == 1 else min(_LONGEST_PAUSE, 2.0 ** (self._failures - 2))
        self._not_before = time.monotonic() + pause


class WorkerEngine(RestartingEngine[Connection]):
    """The engines of ours: llama.cpp and RWKV, in a worker process."""

    async def _life(self, models: tuple[ServableModel, ...]) -> Connection:
        return await Connection.open(models, self._settings, self._log)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Engine.embed`."""
        async with self._serving([]) as connection:
            return await connection.embed(request)
