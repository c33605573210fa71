"""`/metrics`: figures for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from kajiya.server.gateway import Gateway


async def metrics(request: Request) -> Response:
    """All figures, in Prometheus' text format."""
    gateway: Gateway = request.app.state.gateway
    return Response(gateway.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
