"""The console and the API as one application on one port."""

from __future__ import annotations

import re

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from kajiya.core.workspace import Workspace
from kajiya.server.access.audit import Audit
from kajiya.server.access.sessions import Sessions, new_secret
from kajiya.server.access.users import People
from kajiya.server.chats.service import Chats
from kajiya.server.console import errors
from kajiya.server.console.assets import Assets
from kajiya.server.console.context import Console
from kajiya.server.console.guard import ConsoleGuard
from kajiya.server.console.navigation import PAGES
from kajiya.server.console.page import Route
from kajiya.server.console.rendering import Renderer
from kajiya.server.console.texts import Texts
from kajiya.server.gateway import Gateway
from kajiya.server.serving import Serving

_API = re.compile(r"/(v1|health|metrics|docs|openapi\.json)(/|$)")


def create_console(
    workspace: Workspace, gateway: Gateway, serving: Serving | None = None
) -> FastAPI:
    """The pages, as an application of their own; `gateway` is the API's, and `serving` owns its engines.

    It lets everybody in: `side_by_side` puts the guard before it.
    """
    serving = serving or Serving(gateway, workspace)
    assets = Assets(PAGES)
    database = gateway.gate.database
    console = Console(
        workspace=workspace,
        gateway=gateway,
        serving=serving,
        chats=Chats.open(gateway, serving),
        people=People(database),
        sessions=Sessions(database),
        audit=Audit(database),
        renderer=Renderer(PAGES, assets, Texts(PAGES)),
        first_token=new_secret(),
    )
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.console = console
    gateway.before_close.append(console.chats.answering.close)
    static = Route("GET", "/static/{hash}/{name:path}", assets.serve, None)
    routes = [static, *(route for page in PAGES for route in page.routes)]
    for route in routes:
        app.add_api_route(route.path, route.handler, methods=[route.method], response_model=None)
    errors.install(app)
    app.state.routes = routes
    return app


def side_by_side(api: ASGIApp, console: FastAPI) -> ASGIApp:
    """Requests to the API's addresses go there with their keys, all others to the pages with their cookies."""
    pages = ConsoleGuard(console, console.state.routes, console.state.console.sessions)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = api if _API.match(scope.get("path", "")) else pages
        await chosen(scope, receive, send)

    return dispatch
