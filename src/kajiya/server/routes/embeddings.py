"""`POST /v1/embeddings`: a vector for each text, of length 1."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kajiya.inference.protocol import EmbedRequest
from kajiya.server.access.caller import Caller
from kajiya.server.bodies import Body, Token
from kajiya.server.gateway import Gateway
from kajiya.server.parsing import parse
from kajiya.server.streaming import unless_client_leaves

_MOST_TEXTS = 512


class EmbeddingsBody(Body):
    """`POST /v1/embeddings`: a text as it is or as token ids, or a list of such texts."""

    unsupported: ClassVar = {"dimensions": ()}

    model: str
    input: str | list[Token] | list[str] | list[list[Token]] = Field(min_length=1)
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def inputs(self) -> tuple[str | tuple[int, ...], ...]:
        """The texts."""
        if isinstance(self.input, str):
            return (self.input,)
        if isinstance(self.input[0], int):
            return (tuple(token for token in self.input if isinstance(token, int)),)
        texts = [text for text in self.input if not isinstance(text, int)]
        return tuple(text if isinstance(text, str) else tuple(text) for text in texts)

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if len(self.inputs) > _MOST_TEXTS or not all(self.inputs):
            raise ValueError(f"input: up to {_MOST_TEXTS} texts, none empty")
        return self


async def embeddings(request: Request) -> Response:
    """Make embeddings of one text or several."""
    gateway: Gateway = request.app.state.gateway
    caller: Caller = request.state.caller
    body = parse(await request.body(), EmbeddingsBody)
    served = await gateway.find(caller, body.model)
    wanted = EmbedRequest(model=served.model.name, inputs=body.inputs, adapters=served.mixture)
    made = await unless_client_leaves(request.receive, gateway.embed(caller, served, wanted))
    if made is None:
        return Response()
    written = _base64 if body.encoding_format == "base64" else list
    return JSONResponse(
        {
            "object": "list",
            "model": body.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": written(vector)}
                for index, vector in enumerate(made.vectors)
            ],
            "usage": {"prompt_tokens": made.prompt_tokens, "total_tokens": made.prompt_tokens},
        }
    )


def _base64(vector: Sequence[float]) -> Any:
    """Numbers of 32 bits, the lowest byte first."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
