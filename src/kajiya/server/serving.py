"""The engines of one server: models are served and taken down while it runs.

Makes engines, shares the machine's memory between them and closes them; puts what can be asked for into
the gateway's `models`. With a file to remember in, the next start serves the same under the same names.
Decides nothing about callers, and answers no request itself.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kajiya.core.errors import ConflictError, KajiyaError, NotFoundError
from kajiya.core.files import write_json
from kajiya.core.hardware import total_memory
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import Model, RemoteModel, ServableModel, fits, group_by_base
from kajiya.inference.client import RestartingEngine
from kajiya.inference.engines import engine_for
from kajiya.inference.memory import too_large
from kajiya.inference.pool import EnginePool
from kajiya.inference.protocol import BusyError, Engine, EngineSettings
from kajiya.inference.remotes import PREFIX as REMOTE
from kajiya.inference.servable import resolve_servable
from kajiya.server.gateway import Gateway, ServedModel
from kajiya.server.settings import MIB, ServerSettings

_LOOK_SECONDS = 0.1  # between two looks at whether the last answer has ended
log = logging.getLogger("kajiya.server")


class ServedAlreadyError(ConflictError):
    """What was to be served is served, in this very version."""


@dataclass(frozen=True)
class Coming:
    """A model that was asked for in the background: on its way, or not to be had."""

    reference: str
    problem: KajiyaError | None = None


class Serving:
    """What `gateway` serves. Belongs to one event loop."""

    def __init__(
        self,
        gateway: Gateway,
        workspace: Workspace,
        settings: ServerSettings | None = None,
        engine_settings: EngineSettings | None = None,
        *,
        memory: Path | None = None,
    ) -> None:
        self.gateway = gateway
        self.coming: dict[str, Coming] = {}
        self._workspace = workspace
        self._settings = settings or ServerSettings()
        self._engine_settings = engine_settings or EngineSettings()
        self._memory = memory
        self._kept: dict[str, str] = {}  # what to remember: references by names
        self.budget = self._settings.memory * MIB or total_memory() * 3 // 4
        self._pool = EnginePool(self.budget)
        self._numbers = itertools.count()
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, models: Sequence[Model]) -> None:
        """Serve `models`, each loaded when it is first asked for.

        Raises `ConflictError` for a name given twice, `ResourceError` for a model that can never fit; then
        none is served.
        """
        names = [*self.gateway.models, *(model.name for model in models)]
        for name in names:
            if names.count(name) > 1:
                raise ConflictError(
                    tr("two models have this name", "同じ名前のモデルが 2 つあります"), where=name
                )
        opened = [(group, *self._new_engine(group)) for group in group_by_base(models)]
        for group, number, engine in opened:
            self._take(group, number, engine)

    async def add(self, reference: str) -> ServedModel:
        """Serve the model or adapter `reference`, imported or converted first if need be.

        It joins an engine that has its base; else it gets one of its own, which loads when it is first
        asked for. Another version under the same name gives way to it. Raises what `resolve_servable`
        raises, `ServedAlreadyError`, `ResourceError` if it can never fit, and what
        `RestartingEngine.add_model` raises.
        """
        model = await asyncio.to_thread(resolve_servable, reference, self._workspace)
        async with self._changing:
            old = self.gateway.models.get(model.name)
            if old and old.model.reference == model.reference:
                raise ServedAlreadyError(
                    tr("it is served already", "すでに公開されています"), where=model.name
                )
            engine = self._home_of(model)
            if isinstance(model, ServableModel) and engine:
                await engine.add_model(model)
                self.gateway.models[model.name] = ServedModel(model, engine)
            else:
                self._take((model,), *self._new_engine((model,)))
            self._kept[model.name] = _reference(model)
            self._remember()
            if old:
                with suppress(ConflictError, BusyError):  # somebody is still answered by it
                    await self._let_go(old)
        return self.gateway.models[model.name]

    def begin(self, reference: str) -> None:
        """`add` in the background; `coming` tells of it until it is served or forgotten. Once is enough."""
        known = self.coming.get(reference)
        if known is None or known.problem:
            self.coming[reference] = Coming(reference)
            self._spawn(self._added(reference))

    async def arrival(self, name: str) -> None:
        """Wait for a model that is on its way; raises what kept it from coming.

        Who is served under this name already is not waited for: only a newer version may be coming.
        """
        while (coming := self.coming.get(name)) and name not in self.gateway.models:
            if coming.problem:
                raise coming.problem
            await asyncio.sleep(_LOOK_SECONDS)

    def forget(self, reference: str) -> None:
        """Tell no more of a model that could not be served."""
        if (known := self.coming.get(reference)) and known.problem:
            del self.coming[reference]
            if reference not in self.gateway.models:
                self._kept.pop(reference, None)
                self._remember()

    async def remove(self, name: str) -> None:
        """Serve `name` no more. Running answers of its engine get their time to finish.

        Raises `NotFoundError` if it is not served, `ConflictError` if they have not ended then; it is
        served on in this case.
        """
        async with self._changing:
            served = self.gateway.models.pop(name, None)  # from here on nobody can ask for it
            if served is None:
                raise NotFoundError(tr("it is not served", "公開されていません"), where=name)
            try:
                await self._let_go(served)
            except BaseException:
                self.gateway.models[name] = served
                raise
            self._kept.pop(name, None)
            self._remember()

    async def load(self, name: str) -> None:
        """Have a served model in memory now. Raises what the engine raises."""
        engine = self._served(name).engine
        await (engine.load() if isinstance(engine, RestartingEngine) else engine.start())

    async def unload(self, name: str) -> None:
        """Give a model's memory back until it is asked for; `ConflictError` while it answers."""
        engine = self._served(name).engine
        if isinstance(engine, RestartingEngine):
            if engine.available and not engine.restful:
                raise _answering(name)
            await engine.unload()

    def restore(self) -> None:
        """Serve, in the background, what was served when the last server of this memory ended."""
        self._kept = self._remembered()
        self.coming |= {name: Coming(name) for name in self._kept}
        self._spawn(self._restored(dict(self._kept)))

    async def unload_idle(self) -> None:
        """Unload, for ever, what nobody has asked for in a while."""
        await self._pool.unload_idle(self._settings.idle_minutes * 60)

    async def close(self) -> None:
        """Stop all engines."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in self.gateway.engines.values()))

    def _served(self, name: str) -> ServedModel:
        if name not in self.gateway.models:
            raise NotFoundError(tr("it is not served", "公開されていません"), where=name)
        return self.gateway.models[name]

    def _new_engine(self, group: Sequence[Model]) -> tuple[int, Engine]:
        number = next(self._numbers)
        engine = engine_for(
            group,
            self._engine_settings,
            log=self._workspace.home / "logs" / f"engine-{number}.log",
            max_pending=self._settings.max_pending,
            admit=self._pool.admit,
        )
        if isinstance(engine, RestartingEngine) and engine.needs > self.budget:
            raise too_large(engine.needs, self.budget, group[0].name)
        return number, engine

    def _take(self, group: Sequence[Model], number: int, engine: Engine) -> None:
        if isinstance(engine, RestartingEngine):
            self._pool.add(engine)
        self.gateway.engines[number] = engine
        self.gateway.models.update({model.name: ServedModel(model, engine) for model in group})

    def _home_of(self, model: Model) -> RestartingEngine[Any] | None:
        """The engine that has this model's base, if any."""
        for engine in self.gateway.engines.values():
            if isinstance(engine, RestartingEngine) and fits(model, engine.models):
                return engine
        return None

    async def _let_go(self, served: ServedModel) -> None:
        engine, deadline = served.engine, time.monotonic() + self._settings.drain_seconds
        left = [other.model for other in self.gateway.models.values() if other.engine is engine]
        if left:
            kept = {name for model in left for name in model.adapters}
            for adapter in (served.model.adapters.keys() - kept) & _adapters_in(engine):
                await _without(engine, adapter, deadline)
            return
        while engine.pending:
            if time.monotonic() >= deadline:
                raise _answering(served.model.name)
            await asyncio.sleep(_LOOK_SECONDS)
        number = next(n for n, own in self.gateway.engines.items() if own is engine)
        del self.gateway.engines[number]
        if isinstance(engine, RestartingEngine):
            self._pool.remove(engine)
        await engine.close()

    async def _added(self, reference: str) -> None:
        try:
            with suppress(ServedAlreadyError):
                await self.add(reference)
        except Exception as error:
            self._failed(reference, error)
        else:
            del self.coming[reference]

    async def _restored(self, kept: Mapping[str, str]) -> None:
        """Resolved one by one, so that a model that is gone keeps no other from being served."""
        models: list[Model] = []
        for name, reference in kept.items():
            try:
                model = await asyncio.to_thread(resolve_servable, reference, self._workspace)
            except Exception as error:
                self._failed(name, error)
            else:
                models.append(replace(model, name=name))
        async with self._changing:
            for group in group_by_base(models):
                for model in group:
                    self.coming.pop(model.name, None)
                try:
                    self.open([own for own in group if own.name not in self.gateway.models])
                except KajiyaError as error:
                    for model in group:
                        self._failed(model.name, error)

    def _failed(self, reference: str, error: Exception) -> None:
        if not isinstance(error, KajiyaError):
            log.error("%s could not be served", reference, exc_info=error)
            error = KajiyaError(
                tr("an internal error; the log tells more", "内部エラー(詳しくはログ)")
            )
        self.coming[reference] = Coming(reference, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _remember(self) -> None:
        if self._memory:
            write_json(self._memory, {"models": self._kept}, mode=0o600)

    def _remembered(self) -> dict[str, str]:
        """What the file says; nothing if there is none, or none that can be read."""
        try:
            models = json.loads(self._memory.read_text("utf-8"))["models"] if self._memory else {}
            return {str(name): str(reference) for name, reference in models.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s cannot be read, so nothing is served: %s", self._memory, error)
            return {}


def _reference(model: Model) -> str:
    """What to resolve to have this very version again."""
    return f"{REMOTE}{model.name}" if isinstance(model, RemoteModel) else model.reference


def _adapters_in(engine: Engine) -> set[str]:
    """The adapters that an engine has, or will have when it loads."""
    if engine.available:
        return set(engine.capabilities.adapters)
    own = engine.models if isinstance(engine, RestartingEngine) else ()
    return {name for model in own for name in model.adapters}


async def _without(engine: Engine, adapter: str, deadline: float) -> None:
    """Take an adapter from an engine as soon as no answer needs it, or raise what says that one does."""
    assert isinstance(engine, RestartingEngine)
    while True:
        try:
            return await engine.remove_adapter(adapter)
        except ConflictError:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_LOOK_SECONDS)


def _answering(name: str) -> ConflictError:
    return ConflictError(
        tr("it is answering requests", "回答の生成に使われています"),
        where=name,
        fix=tr("try again when they have ended", "終わってからもう一度お試しください"),
    )
