"""Conversations: the list, one of them, and where preferences are read and taken away."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.server.access.users import Role
from kajiya.server.chats.settings import ChatSettings
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.chat import answers, opinions, options
from kajiya.server.console.pages.chat.reader import caller, conversation_of


async def show_list(request: Request) -> Response:
    """The conversations; `?model=NAME` is what a new one begins with."""
    me = caller(request)
    console = the(request)
    listed = await asyncio.to_thread(console.chats.conversations.list, me.key_id)
    choices = await options.model_choices(request)
    wanted = request.query_params.get("model", "")
    return page(
        request, "chat/list.html", conversations=listed, choices=choices, wanted=wanted[:1000]
    )


async def begin(request: Request) -> Response:
    """A new conversation with a model, which is served first if it is not."""
    sent = await form(request)
    model = sent.get("model", "")
    await options.have_served(request, model)
    settings = ChatSettings.checked({"models": (model,) if model else ()})
    conversations = the(request).chats.conversations
    made = await asyncio.to_thread(conversations.create, caller(request).key_id, settings)
    return RedirectResponse(f"/chat/{made.id}", 303)


async def show(request: Request) -> Response:
    """One conversation."""
    conversation = await conversation_of(request)
    listed = await asyncio.to_thread(the(request).chats.conversations.list, caller(request).key_id)
    return page(
        request,
        "chat/conversation.html",
        conversation=conversation,
        conversations=listed,
        messages=await answers.told(request, conversation),
        **await options.panel(request, conversation.settings),
    )


async def rename(request: Request) -> Response:
    conversation = await conversation_of(request)
    title = (await form(request)).get("title", "")
    if title.strip():
        await asyncio.to_thread(the(request).chats.conversations.rename, conversation, title)
    return RedirectResponse(f"/chat/{conversation.id}", 303)


async def remove(request: Request) -> Response:
    """Forget a conversation."""
    conversation = await conversation_of(request)
    await the(request).chats.answering.stop(conversation)
    await asyncio.to_thread(the(request).chats.conversations.remove, conversation)
    await note(request, "chat.deleted", conversation.id)
    return RedirectResponse("/chat", 303)


PAGE = Page(
    "chat",
    icon="chat",
    routes=(
        Route("GET", "/chat", show_list, Role.VIEWER),
        Route("POST", "/chat", begin, Role.VIEWER),
        Route("GET", "/chat/models", options.state, Role.VIEWER),
        Route("GET", "/chat/preferences", opinions.show, Role.TRAINER),
        Route("POST", "/chat/preferences/delete", opinions.remove, Role.TRAINER),
        Route("GET", "/chat/preferences/export/{form}", opinions.download, Role.TRAINER),
        Route("POST", "/chat/messages/{message}/compare", opinions.compare, Role.VIEWER),
        Route("POST", "/chat/messages/{message}/rate", opinions.rate, Role.VIEWER),
        Route("POST", "/chat/messages/{message}/correct", opinions.correct, Role.VIEWER),
        Route("GET", "/chat/{conversation}", show, Role.VIEWER),
        Route("GET", "/chat/{conversation}/messages", answers.messages, Role.VIEWER),
        Route("GET", "/chat/{conversation}/events", answers.events, Role.VIEWER),
        Route("POST", "/chat/{conversation}/ask", answers.ask, Role.VIEWER),
        Route("POST", "/chat/{conversation}/again", answers.again, Role.VIEWER),
        Route("POST", "/chat/{conversation}/stop", answers.stop, Role.VIEWER),
        Route("POST", "/chat/{conversation}/settings", options.change, Role.VIEWER),
        Route("POST", "/chat/{conversation}/title", rename, Role.VIEWER),
        Route("POST", "/chat/{conversation}/delete", remove, Role.VIEWER),
    ),
)
