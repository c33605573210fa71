"""Adapters that come and go while the server runs: registered ones, over a base that is served.

Takes references of the workspace's own artifacts only; never a path, and nothing is fetched.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from kajiya.core.errors import ConflictError, NotFoundError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.inference.client import RestartingEngine
from kajiya.inference.protocol import Engine
from kajiya.inference.servable import servable
from kajiya.models.resolve import base_of
from kajiya.server.gateway import Gateway, ServedModel
from kajiya.store.artifacts import Artifact, ArtifactStore


@dataclass(frozen=True)
class Adapters:
    """The adapters of one gateway, from one workspace."""

    gateway: Gateway
    workspace: Workspace

    def cards(self) -> list[dict[str, Any]]:
        """Every adapter that is served."""
        engines = self.gateway.engines.values()
        return [self.card(name) for engine in engines for name in self.gateway.adapters(engine)]

    def card(self, reference: str) -> dict[str, Any]:
        """One adapter and the models that have it; `NotFoundError` if it is not served."""
        having = self._having(reference)
        if not having:
            raise NotFoundError(
                tr(
                    f"the adapter {reference!r} is not served",
                    f"アダプター {reference!r} は公開されていません",
                )
            )
        return {"id": reference, "object": "adapter", "models": list(having)}

    async def add(self, reference: str) -> dict[str, Any]:
        """Serve a registered adapter under its name; the base must be served already.

        Raises `ConfigError` or `NotFoundError` for no such adapter, `ConflictError` for one that is
        served already or whose base is not, and what the engine raises.
        """
        adapter, base = await asyncio.to_thread(self._find, reference)
        if self._having(adapter.reference):
            raise ConflictError(
                tr(
                    f"the adapter {adapter.reference!r} is served already",
                    f"アダプター {adapter.reference!r} はすでに公開されています",
                )
            )
        engine = next((own for own in self.gateway.engines.values() if _stands_on(own, base)), None)
        if engine is None:
            raise ConflictError(
                tr(
                    f"its base model {base.name!r} is not served",
                    f"基になるモデル {base.name!r} が公開されていません",
                ),
                fix=tr(
                    "start the server with it", "そのモデルを指定してサーバーを起動してください"
                ),
            )
        name = adapter.reference if reference in self.gateway.models else reference
        folders = {adapter.reference: adapter.folder}
        kind = engine.models[0].engine
        model = await asyncio.to_thread(servable, name, base, folders, self.workspace, kind)
        model = replace(model, reference=adapter.reference)
        await engine.add_model(model)
        self.gateway.models[name] = ServedModel(model, engine)
        return self.card(adapter.reference)

    async def remove(self, reference: str) -> None:
        """Serve no model with this adapter any more.

        Raises `NotFoundError` if none has it, `ConflictError` while it answers.
        """
        self.card(reference)
        having = self._having(reference)
        engine = next(iter(having.values())).engine
        assert isinstance(engine, RestartingEngine)
        for name in having:  # from here on nobody can ask for it
            del self.gateway.models[name]
        try:
            await engine.remove_adapter(reference)
        except BaseException:
            self.gateway.models.update(having)
            raise

    def _having(self, reference: str) -> dict[str, ServedModel]:
        """The models with this adapter, by name."""
        models = self.gateway.models.items()
        return {name: served for name, served in models if reference in served.model.adapters}

    def _find(self, reference: str) -> tuple[Artifact, Artifact]:
        """A registered adapter and its base."""
        adapter = ArtifactStore(self.workspace).get(reference, "adapter")
        return adapter, base_of(adapter, self.workspace)


def _stands_on(engine: Engine, base: Artifact) -> TypeGuard[RestartingEngine[Any]]:
    """Whether `engine` is one of ours with this base."""
    return isinstance(engine, RestartingEngine) and engine.models[0].folder == base.folder
