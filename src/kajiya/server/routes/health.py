"""`/health`: how the engines are. Open to anyone, so it names nothing."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from starlette.requests import Request
from starlette.responses import JSONResponse

from kajiya.inference.protocol import EngineState
from kajiya.server.gateway import Gateway


async def health(request: Request) -> JSONResponse:
    """200 when requests can be answered, 503 while an engine fails or the server is being stopped.

    An engine that is idle is well: the next request to it loads it.
    """
    gateway: Gateway = request.app.state.gateway
    states = Counter(engine.state for engine in gateway.engines.values())
    status = "stopping" if gateway.draining else "degraded" if states["failing"] else "ok"
    engines = {state: states[state] for state in get_args(EngineState)}
    return JSONResponse({"status": status, "engines": engines}, 200 if status == "ok" else 503)
