"""What an engine's process and its client tell each other: one JSON message a line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from kajiya.core.errors import ConflictError, EngineError, FormatError, KajiyaError
from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import (
    Capabilities,
    ConstraintError,
    ContextLengthError,
    Embeddings,
    EmbedRequest,
    EngineSettings,
    GenerateChunk,
    GenerateRequest,
    RequestError,
)

# Longer than any prompt that a gateway lets through, even with every character escaped.
LINE_LIMIT = 64 * 1024**2
# What the other side raises as what it is; anything else is the engine's failure.
_KINDS = (RequestError, ContextLengthError, ConstraintError, FormatError, ConflictError)


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        """This message as it is sent."""
        return self.model_dump_json().encode("utf-8") + b"\n"


class Load(_Message):
    """To the worker, once, first: load these models, which share one base."""

    type: Literal["load"] = "load"
    models: tuple[ServableModel, ...]
    settings: EngineSettings


class Generate(_Message):
    """To the worker: answer, and call the answer `id`."""

    type: Literal["generate"] = "generate"
    id: int
    request: GenerateRequest


class Embed(_Message):
    """To the worker: make embeddings, and call the answer `id`."""

    type: Literal["embed"] = "embed"
    id: int
    request: EmbedRequest


class Cancel(_Message):
    """To the worker: nobody wants answer `id` any more."""

    type: Literal["cancel"] = "cancel"
    id: int


class AddModel(_Message):
    """To the worker: load one more model of the same base, and call that `id`."""

    type: Literal["add"] = "add"
    id: int
    model: ServableModel


class RemoveAdapter(_Message):
    """To the worker: unload an adapter when nobody needs it any more, and call that `id`."""

    type: Literal["remove"] = "remove"
    id: int
    name: str


class Ready(_Message):
    """From the worker: the models are loaded; with an id, that change is made."""

    type: Literal["ready"] = "ready"
    id: int | None = None
    capabilities: Capabilities


class Chunk(_Message):
    """From the worker: a piece of answer `id`."""

    type: Literal["chunk"] = "chunk"
    id: int
    chunk: GenerateChunk


class Embedded(_Message):
    """From the worker: answer `id`, whole."""

    type: Literal["embedded"] = "embedded"
    id: int
    embeddings: Embeddings


class Failed(_Message):
    """From the worker: answer or change `id` failed; without an id, loading did."""

    type: Literal["failed"] = "failed"
    id: int | None
    code: str
    message: str
    where: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: KajiyaError, id: int | None = None) -> Failed:
        return cls(id=id, **error.as_dict())

    def error(self) -> KajiyaError:
        """The error to raise on this side."""
        kind = next((k for k in _KINDS if k.code == self.code), EngineError)
        return kind(self.message, where=self.where, fix=self.fix)


ToWorker = Annotated[
    Load | Generate | Embed | Cancel | AddModel | RemoveAdapter, Field(discriminator="type")
]
FromWorker = Annotated[Ready | Chunk | Embedded | Failed, Field(discriminator="type")]
TO_WORKER: TypeAdapter[ToWorker] = TypeAdapter(ToWorker)
FROM_WORKER: TypeAdapter[FromWorker] = TypeAdapter(FromWorker)
