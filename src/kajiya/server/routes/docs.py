"""`/openapi.json` and `/docs`: what this server can be asked. The same everywhere, so open to anyone."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from kajiya.server.openapi import PAGE_HEADERS, page


async def openapi_document(request: Request) -> JSONResponse:
    """This API, described."""
    return JSONResponse(request.app.state.document)


async def documentation(request: Request) -> HTMLResponse:
    """This API, described for people."""
    return HTMLResponse(page(request.app.state.document), headers=PAGE_HEADERS)
