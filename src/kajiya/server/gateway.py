"""The models that a server offers and the engines behind them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from kajiya.core.errors import KajiyaError
from kajiya.core.language import tr
from kajiya.inference.bundle import Model
from kajiya.inference.protocol import (
    Embeddings,
    EmbedRequest,
    Engine,
    GenerateRequest,
    RequestError,
    Usage,
)
from kajiya.server.access.caller import Caller
from kajiya.server.access.gate import Gate
from kajiya.server.answers import total
from kajiya.server.errors import ApiError
from kajiya.server.merge import merged
from kajiya.server.metrics import Metrics
from kajiya.server.names import Part, parse_mixture
from kajiya.server.streaming import Chunks


@dataclass(frozen=True)
class ServedModel:
    """A model and the engine that serves it; several models may share an engine.

    `added` are adapters with their scales over the model's own, for a mixture. `parts` are the names of
    all that it consists of, by which it may be decided who may use it.
    """

    model: Model
    engine: Engine
    added: tuple[tuple[str, float], ...] = ()

    @property
    def mixture(self) -> tuple[tuple[str, float], ...]:
        """The adapters as `GenerateRequest.adapters` wants them."""
        return (*self.model.mixture(), *self.added)

    @property
    def parts(self) -> tuple[str, ...]:
        """The model's name, and the references of the adapters over it."""
        return (self.model.name, *(name for name, _ in self.added))


@dataclass
class Gateway:
    """Everything the routes need. `models` are by the name in the API.

    `engines` are by the number that logs and figures know them by; they may outlive their models. Both
    change while the server runs. `before_close` is what uses it without a request, to be ended before it is.
    """

    models: dict[str, ServedModel]
    gate: Gate
    engines: dict[int, Engine] = field(init=False)
    metrics: Metrics = field(init=False)
    draining: bool = False
    before_close: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        engines = {id(served.engine): served.engine for served in self.models.values()}
        self.engines = dict(enumerate(engines.values()))
        self.metrics = Metrics(self.models, self.engines)

    def names(self, caller: Caller) -> list[str]:
        """The models that `caller` may ask for."""
        return [name for name in self.models if caller.settings.allows(name)]

    async def find(self, caller: Caller, name: str) -> ServedModel:
        """What `name` means, ready to be asked; an error in the API's shape otherwise."""
        if self.draining:
            raise ApiError(
                503,
                tr("The server is being stopped", "サーバーは停止の途中です"),
                type="server_error",
                code="shutting_down",
                headers={"Retry-After": "5", "Connection": "close"},
            )
        served = self.look_up(caller, name)
        try:
            await served.engine.start()
        except KajiyaError as error:
            self.metrics.failed(served.model.name, error)
            raise
        return served

    def look_up(self, caller: Caller, name: str) -> ServedModel:
        """The model, version or mixture that `name` is; a 404 for what there is not, a 400 for no name.

        One that is out of the caller's scope looks to him as if it were not there. A mixture is in it if
        all of its parts are.
        """
        found = self._named(name)
        if found is None and "+" in name:
            base, parts = parse_mixture(name)
            found = self._named(base)
            if found is not None:
                found = self._mixed(found, parts)
            name = base if found is None else name
        if found is None or not _allowed(caller, name, found):
            raise ApiError(
                404,
                tr(f"The model {name!r} does not exist", f"モデル {name!r} はありません"),
                param="model",
                code="model_not_found",
            )
        return found

    def adapters(self, engine: Engine) -> list[str]:
        """The references of all adapters that this engine serves."""
        models = [served.model for served in self.models.values() if served.engine is engine]
        return list(dict.fromkeys(name for model in models for name in model.adapters))

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
            aclosing(self.metrics.watched(served.model.name, merged(answers))) as chunks,
        ):
            async for index, chunk in chunks:
                if chunk.usage:
                    used[index] = chunk.usage
                    call.count(*total(used, choices))
                yield index, chunk

    async def embed(self, caller: Caller, served: ServedModel, request: EmbedRequest) -> Embeddings:
        """The embeddings of texts; every route that makes some does it here."""
        async with self.gate.call(caller, served.model.name) as call:
            try:
                made = await served.engine.embed(request)
            except RequestError as error:
                raise ApiError(400, error.message, param="input", code="invalid_value") from None
            call.count(made.prompt_tokens)
            return made

    def _named(self, name: str) -> ServedModel | None:
        if name in self.models:
            return self.models[name]
        same = (served for served in self.models.values() if served.model.reference == name)
        return next(same, None) if name else None

    def _mixed(self, served: ServedModel, parts: Sequence[Part]) -> ServedModel:
        known = self.adapters(served.engine)
        added = []
        for part in parts:
            reference = part.newest(known)
            if reference is None:
                raise ApiError(
                    404,
                    tr(
                        f"There is no adapter {part.reference!r} for {served.model.name!r} (a weight is written with a point, such as 2.0)",
                        f"{served.model.name!r} のアダプター {part.reference!r} はありません(重みは 2.0 のように小数点を付けて書きます)",
                    ),
                    param="model",
                    code="adapter_not_found",
                )
            added.append((reference, part.weight))
        return ServedModel(served.model, served.engine, tuple(added))


def _allowed(caller: Caller, name: str, served: ServedModel) -> bool:
    def named(part: str) -> bool:
        return caller.settings.allows(part) or caller.settings.allows(part.rpartition(":")[0])

    return caller.settings.allows(name) or (
        bool(served.added) and all(named(part) for part in served.parts)
    )
