"""The application: routes, errors and guard put together."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.responses import HTMLResponse

from kajiya.core.workspace import Workspace
from kajiya.server import errors
from kajiya.server.access.gate import Gate
from kajiya.server.adapters import Adapters
from kajiya.server.gateway import Gateway, ServedModel
from kajiya.server.openapi import document
from kajiya.server.routes import (
    adapters,
    chat,
    completions,
    docs,
    embeddings,
    health,
    metrics,
    models,
    responses,
    states,
    usage,
)
from kajiya.server.security import Guard
from kajiya.server.settings import MIB, ServerSettings
from kajiya.server.states import Shelf


def create_app(
    settings: ServerSettings, served: Mapping[str, ServedModel], gate: Gate, workspace: Workspace
) -> FastAPI:
    """The gateway for these models; `workspace` is where adapters may be added from.

    Engines start when they are asked; it stops none.
    """
    app = FastAPI(
        title="Kajiya", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.gateway = Gateway(dict(served), gate)
    app.state.shelf = Shelf(workspace.states, settings.states * MIB)
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
    app.add_api_route("/v1/states", states.list_states)
    app.add_api_route("/v1/states/{state}", states.get_state)
    app.add_api_route("/v1/states/{state}", states.remove_state, methods=["DELETE"])
    app.add_api_route("/v1/states/{state}/content", states.get_content)
    app.add_api_route("/v1/usage", usage.list_usage)
    app.add_api_route("/v1/chat/completions", chat.chat_completions, methods=["POST"])
    app.add_api_route("/v1/completions", completions.completions, methods=["POST"])
    app.add_api_route("/v1/responses", responses.responses, methods=["POST"])
    app.add_api_route("/v1/embeddings", embeddings.embeddings, methods=["POST"])
    app.add_api_route("/openapi.json", docs.openapi_document)
    app.add_api_route("/docs", docs.documentation, response_class=HTMLResponse)
    app.state.document = document(app)
    errors.install(app)
    app.add_middleware(Guard, gate=gate, max_body_bytes=settings.max_body_bytes)
    return app
