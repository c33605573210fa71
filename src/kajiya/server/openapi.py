"""The OpenAPI document of this server, and a page that shows it without fetching anything from elsewhere.

The handlers read bodies themselves, so what they take is told here, by the models that check it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from kajiya import __version__
from kajiya.server import replies
from kajiya.server.bodies import CompletionBody
from kajiya.server.chat_body import ChatBody
from kajiya.server.responses_body import ResponsesBody
from kajiya.server.routes.adapters import AddBody
from kajiya.server.routes.embeddings import EmbeddingsBody
from kajiya.server.security import RULES, Access

_BODIES: dict[str, type] = {
    "POST /v1/adapters": AddBody,
    "POST /v1/chat/completions": ChatBody,
    "POST /v1/completions": CompletionBody,
    "POST /v1/responses": ResponsesBody,
    "POST /v1/embeddings": EmbeddingsBody,
}
_REPLIES: dict[str, type] = {
    "/health": replies.Health,
    "/v1/models": replies.ModelList,
    "/v1/models/{model}": replies.ModelCard,
    "/v1/chat/completions": replies.ChatCompletion,
    "/v1/completions": replies.TextCompletion,
    "/v1/responses": replies.ResponseObject,
    "/v1/embeddings": replies.EmbeddingList,
}
_STREAMING = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{padding:1rem;overflow:auto;border:1px solid}:root{color-scheme:light dark}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_HEADERS = {"Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'"}


def document(app: FastAPI) -> dict[str, Any]:
    """The routes of `app` with what they take and give."""
    made = get_openapi(title="Kajiya", version=__version__, routes=app.routes)
    places, schemas = _schemas()
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            route = f"{method.upper()} {path}"
            operation.pop("requestBody", None)
            if route in _BODIES:
                content = {"application/json": {"schema": places[_BODIES[route]]}}
                operation["requestBody"] = {"required": True, "content": content}
            operation["responses"] = _responses(path, operation["responses"], places)
            if _is_open(route):
                operation["security"] = []
    made["components"] = {
        "schemas": schemas,
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    made["security"] = [{"key": []}]
    return made


def _schemas() -> tuple[dict[type, Any], dict[str, Any]]:
    """Where the schema of each type is, and all schemas by name."""
    kinds = (*_BODIES.values(), *_REPLIES.values(), replies.ErrorReply)
    found, definitions = TypeAdapter.json_schemas(
        [(kind, "validation", TypeAdapter(kind)) for kind in kinds],
        ref_template="#/components/schemas/{model}",
    )
    return {kind: found[kind, "validation"] for kind in kinds}, definitions["$defs"]


def _responses(path: str, given: dict[str, Any], places: dict[type, Any]) -> dict[str, Any]:
    content = next(iter(given.values())).get("content", {})
    if path in _REPLIES:
        content = {"application/json": {"schema": places[_REPLIES[path]]}}
    if path in _STREAMING:
        content["text/event-stream"] = {}
    error = {"application/json": {"schema": places[replies.ErrorReply]}}
    if path == "/health":
        error = content  # what it says is the same, only the status differs
    return {
        "200": {"description": "It went well.", "content": content},
        "default": {"description": "It did not.", "content": error},
    }


def _is_open(route: str) -> bool:
    return any(
        access is Access.OPEN and rule.replace(":path", "") == route
        for rule, access in RULES.items()
    )


def page(described: dict[str, Any]) -> str:
    """The document as HTML, for people."""
    parts = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            access = "" if operation.get("security") == [] else " · Authorization: Bearer kj-…"
            text = html.escape(operation.get("description", ""))
            parts.append(f"<h2>{method.upper()} {html.escape(path)}</h2><p>{text}{access}</p>")
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body:
                name = body["schema"]["$ref"].rsplit("/", 1)[1]
                parts.append(f'<p><a href="#{name}">{name}</a></p>')
    for name, schema in described["components"]["schemas"].items():
        text = html.escape(json.dumps(schema, ensure_ascii=False, indent=2))
        parts.append(f'<h3 id="{html.escape(name)}">{html.escape(name)}</h3><pre>{text}</pre>')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Kajiya API</title>'
        f'<style>{_STYLE}</style><h1>Kajiya API</h1><p><a href="/openapi.json">openapi.json</a></p>'
        f"{''.join(parts)}</html>"
    )
