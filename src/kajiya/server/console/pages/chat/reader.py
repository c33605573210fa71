"""Who is talking, as the gateway knows callers, and which conversation is meant."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from kajiya.server.access.caller import Caller
from kajiya.server.chats.conversations import Conversation
from kajiya.server.console.context import the
from kajiya.server.console.visit import visit


def caller(request: Request) -> Caller:
    """The signed-in person: what he uses is written down under his id."""
    user = visit(request).user
    assert user is not None  # every route of this page wants a role
    return Caller(user.id)


async def conversation_of(request: Request) -> Conversation:
    """The one that the address names, if it is his; a 404 otherwise."""
    conversations = the(request).chats.conversations
    id = request.path_params["conversation"]
    return await asyncio.to_thread(conversations.get, caller(request).key_id, id)
