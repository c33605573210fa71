"""`/v1/states`: what the caller's requests kept with `return_state`."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse

from kajiya.server.states import Shelf


async def list_states(request: Request) -> JSONResponse:
    """All states that the caller's key has kept."""
    shelf: Shelf = request.app.state.shelf
    cards = await asyncio.to_thread(shelf.cards, request.state.caller)
    return JSONResponse({"object": "list", "data": cards})


async def get_state(request: Request, state: str) -> JSONResponse:
    """One state."""
    shelf: Shelf = request.app.state.shelf
    return JSONResponse(shelf.card(shelf.find(request.state.caller, state)))


async def get_content(request: Request, state: str) -> FileResponse:
    """The state itself, in safetensors."""
    shelf: Shelf = request.app.state.shelf
    path = shelf.find(request.state.caller, state)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


async def remove_state(request: Request, state: str) -> JSONResponse:
    """Forget a state."""
    shelf: Shelf = request.app.state.shelf
    shelf.find(request.state.caller, state).unlink(missing_ok=True)
    return JSONResponse({"id": state, "object": "state", "deleted": True})
