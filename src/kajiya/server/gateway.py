"""The models that a server offers and the engines behind them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from kajiya.core.language import tr
from kajiya.inference.bundle import Model
from kajiya.inference.protocol import Embeddings, EmbedRequest, Engine, GenerateRequest, Usage
from kajiya.server.access.caller import Caller
from kajiya.server.access.gate import Gate
from kajiya.server.answers import total
from kajiya.server.errors import ApiError
from kajiya.server.merge import merged
from kajiya.server.streaming import Chunks


@dataclass(frozen=True)
class ServedModel:
    """A model and the engine that has it loaded; several models may share an engine."""

    model: Model
    engine: Engine


@dataclass(frozen=True)
class Gateway:
    """Everything the routes need. `models` are by the name in the API."""

    models: dict[str, ServedModel]
    gate: Gate
    created: int = field(default_factory=lambda: int(time.time()))

    def names(self, caller: Caller) -> list[str]:
        """The models that `caller` may ask for."""
        return [name for name in self.models if caller.settings.allows(name)]

    def find(self, caller: Caller, name: str) -> ServedModel:
        """The model called `name`; a 404 in the API's shape otherwise.

        One that is out of the caller's scope looks to him as if it were not there.
        """
        if name not in self.models or not caller.settings.allows(name):
            raise ApiError(
                404,
                tr(f"The model {name!r} does not exist", f"モデル {name!r} はありません"),
                param="model",
                code="model_not_found",
            )
        return self.models[name]

    async def generate(
        self,
        caller: Caller,
        served: ServedModel,
        requests: Sequence[GenerateRequest],
        choices: int = 1,
    ) -> Chunks:
        """The answers to all `requests` as one stream; every route that generates does it here.

        `choices` requests that follow each other have the same prompt, which is counted once.
        """
        used: dict[int, Usage] = {}
        answers = [served.engine.generate(request) for request in requests]
        async with (
            self.gate.call(caller, served.model.name) as call,
            aclosing(merged(answers)) as chunks,
        ):
            async for index, chunk in chunks:
                if chunk.usage:
                    used[index] = chunk.usage
                    call.count(*total(used, choices))
                yield index, chunk

    async def embed(self, caller: Caller, served: ServedModel, request: EmbedRequest) -> Embeddings:
        """The embeddings of texts; every route that makes some does it here."""
        async with self.gate.call(caller, served.model.name) as call:
            made = await served.engine.embed(request)
            call.count(made.prompt_tokens)
            return made

    def engines(self) -> list[Engine]:
        """Each engine once."""
        return list({id(served.engine): served.engine for served in self.models.values()}.values())
