"""`/v1/adapters`: what is loaded over the bases, added and removed while the server runs."""

from __future__ import annotations

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from kajiya.server.adapters import Adapters
from kajiya.server.bodies import Body
from kajiya.server.parsing import parse


class AddBody(Body):
    """`POST /v1/adapters`: `name` or `name:version` of a registered adapter."""

    adapter: str = Field(min_length=1, max_length=200)


async def list_adapters(request: Request) -> JSONResponse:
    """Every adapter that is served."""
    adapters: Adapters = request.app.state.adapters
    return JSONResponse({"object": "list", "data": adapters.cards()})


async def get_adapter(request: Request, adapter: str) -> JSONResponse:
    """One adapter."""
    adapters: Adapters = request.app.state.adapters
    return JSONResponse(adapters.card(adapter))


async def add_adapter(request: Request) -> JSONResponse:
    """Serve one more."""
    adapters: Adapters = request.app.state.adapters
    body = parse(await request.body(), AddBody)
    return JSONResponse(await adapters.add(body.adapter), 201)


async def remove_adapter(request: Request, adapter: str) -> JSONResponse:
    """Serve one no more."""
    adapters: Adapters = request.app.state.adapters
    await adapters.remove(adapter)
    return JSONResponse({"id": adapter, "object": "adapter", "deleted": True})
