"""The application: routes, errors and guard put together."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI

from kajiya.core.workspace import Workspace
from kajiya.server import errors
from kajiya.server.adapters import Adapters
from kajiya.server.gateway import Gateway, ServedModel
from kajiya.server.routes import adapters, chat, completions, health, metrics, models
from kajiya.server.security import Guard
from kajiya.server.settings import ServerSettings


def create_app(
    settings: ServerSettings, served: Mapping[str, ServedModel], key: str, workspace: Workspace
) -> FastAPI:
    """The gateway for these models; `workspace` is where adapters may be added from.

    Engines start when they are asked; it stops none.
    """
    app = FastAPI(
        title="Kajiya", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.gateway = Gateway(dict(served))
    app.state.adapters = Adapters(app.state.gateway, workspace)
    # One by one: an included router would hide its routes from the test that walks them.
    app.add_api_route("/health", health.health)
    app.add_api_route("/metrics", metrics.metrics)
    app.add_api_route("/v1/adapters", adapters.list_adapters)
    app.add_api_route("/v1/adapters", adapters.add_adapter, methods=["POST"])
    app.add_api_route("/v1/adapters/{adapter:path}", adapters.get_adapter)
    app.add_api_route("/v1/adapters/{adapter:path}", adapters.remove_adapter, methods=["DELETE"])
    app.add_api_route("/v1/models", models.list_models)
    app.add_api_route("/v1/models/{model:path}", models.get_model)
    app.add_api_route("/v1/chat/completions", chat.chat_completions, methods=["POST"])
    app.add_api_route("/v1/completions", completions.completions, methods=["POST"])
    errors.install(app)
    app.add_middleware(Guard, key=key, max_body_bytes=settings.max_body_bytes)
    return app
