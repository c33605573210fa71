"""The models that a server offers and the engines behind them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import Embeddings, EmbedRequest, Engine, GenerateRequest
from kajiya.server.errors import ApiError
from kajiya.server.merge import merged
from kajiya.server.streaming import Chunks


@dataclass(frozen=True)
class ServedModel:
    """A model and the engine that has it loaded; several models may share an engine."""

    model: ServableModel
    engine: Engine


@dataclass(frozen=True)
class Gateway:
    """Everything the routes need. `models` are by the name in the API."""

    models: dict[str, ServedModel]
    created: int = field(default_factory=lambda: int(time.time()))

    def find(self, name: str) -> ServedModel:
        """The model called `name`; a 404 in the API's shape otherwise."""
        if name not in self.models:
            raise ApiError(
                404,
                tr(f"The model {name!r} does not exist", f"モデル {name!r} はありません"),
                param="model",
                code="model_not_found",
            )
        return self.models[name]

    def generate(self, served: ServedModel, requests: Sequence[GenerateRequest]) -> Chunks:
        """The answers to all `requests` as one stream; every route that generates does it here."""
        return merged([served.engine.generate(request) for request in requests])

    async def embed(self, served: ServedModel, request: EmbedRequest) -> Embeddings:
        """The embeddings of texts; every route that makes some does it here."""
        return await served.engine.embed(request)

    def engines(self) -> list[Engine]:
        """Each engine once."""
        return list({id(served.engine): served.engine for served in self.models.values()}.values())
