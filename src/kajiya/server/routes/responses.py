"""`POST /v1/responses`: the newer form of a chat completion. Nothing is kept between requests."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from kajiya.server.access.caller import Caller
from kajiya.server.chat_body import ChatBody
from kajiya.server.gateway import Gateway
from kajiya.server.parsing import checked, parse
from kajiya.server.responses_body import ResponsesBody
from kajiya.server.responses_reply import ResponseReply
from kajiya.server.sampling import chat_requests
from kajiya.server.states import Kept
from kajiya.server.streaming import respond


async def responses(request: Request) -> Response:
    """Answer a conversation, in items."""
    gateway: Gateway = request.app.state.gateway
    caller: Caller = request.state.caller
    body = parse(await request.body(), ResponsesBody)
    chat = checked(body.as_chat(), ChatBody)
    served = await gateway.find(caller, body.model)
    chunks = gateway.generate(
        caller, served, chat_requests(served, chat, Kept(), "max_output_tokens")
    )
    reply = ResponseReply(body, chat.offer.names if chat.offer else [])
    return await respond(request, chunks, reply, bool(body.stream))
