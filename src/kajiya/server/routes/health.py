"""`/health`: whether the engines are up. Open to anyone, so it names nothing."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse

from kajiya.server.gateway import Gateway


async def health(request: Request) -> JSONResponse:
    """200 when every engine is up, 503 when one is down (the next request to it starts it again)."""
    gateway: Gateway = request.app.state.gateway
    states = [engine.available for engine in gateway.engines()]
    healthy = all(states)
    body = {
        "status": "ok" if healthy else "degraded",
        "engines": {"up": sum(states), "down": len(states) - sum(states)},
    }
    return JSONResponse(body, 200 if healthy else 503)
