"""`/v1/models`: what can be asked for."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from kajiya.server.gateway import Gateway


async def list_models(request: Request) -> JSONResponse:
    """All models that the caller may ask for."""
    gateway: Gateway = request.app.state.gateway
    names = gateway.names(request.state.caller)
    return JSONResponse({"object": "list", "data": [_card(gateway, name) for name in names]})


async def get_model(request: Request, model: str) -> JSONResponse:
    """One model."""
    gateway: Gateway = request.app.state.gateway
    gateway.look_up(request.state.caller, model)
    return JSONResponse(_card(gateway, model))


def _card(gateway: Gateway, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": gateway.created, "owned_by": "kajiya"}
