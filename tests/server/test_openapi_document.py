"""The document of the API and the page for people, which need nothing from anywhere else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import pytest

from kajiya.core.workspace import Workspace
from kajiya.server.access.gate import Gate
from kajiya.server.app import create_app
from kajiya.server.security import RULES, Access
from kajiya.server.settings import ServerSettings
from support.tiny_server import Running


@pytest.fixture(scope="module")
def document(server: Running) -> Any:
    response = httpx.get(f"{server.url}/openapi.json")
    assert response.status_code == 200
    return response.json()


def test_every_route_is_in_it_with_its_access(document: Any) -> None:
    told = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(told) == {rule.replace(":path", "") for rule in RULES}
    for rule, access in RULES.items():
        operation = told[rule.replace(":path", "")]
        security = operation.get("security", document["security"])
        assert security == ([] if access is Access.OPEN else [{"key": []}])
        assert operation["description"]


def test_it_says_nothing_of_this_machine(server: Running, document: Any) -> None:
    app = create_app(ServerSettings(), {}, cast(Gate, None), Workspace(Path("unused")))
    assert document == app.state.document
    assert str(server.home) not in str(document)


def test_every_reference_leads_somewhere(document: Any) -> None:
    schemas = document["components"]["schemas"]
    found = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert found <= set(schemas)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "a"}], "logprobs": True},
        ),
        ("/v1/completions", {"prompt": "a", "logprobs": 2}),
        ("/v1/responses", {"input": "a"}),
        ("/v1/embeddings", {"input": "a"}),
    ],
)
def test_requests_and_answers_are_as_it_says(
    server: Running, document: Any, path: str, body: dict[str, Any]
) -> None:
    length = {} if path == "/v1/embeddings" else {"max_tokens": 2}
    if path == "/v1/responses":
        length = {"max_output_tokens": 2}
    asked = {"model": "tiny", **length, **body}
    operation = document["paths"][path]["post"]
    taken = operation["requestBody"]["content"]["application/json"]["schema"]
    given = operation["responses"]["200"]["content"]["application/json"]["schema"]
    error = operation["responses"]["default"]["content"]["application/json"]["schema"]
    good, bad = server.post(path, json=asked), server.post(path, json={**asked, "invented": 1})
    assert (good.status_code, bad.status_code) == (200, 400)

    def check(value: Any, schema: Any) -> None:
        jsonschema.validate(value, {**schema, "components": document["components"]})

    check(asked, taken)
    check(good.json(), given)
    check(bad.json(), error)
    with pytest.raises(jsonschema.ValidationError):
        check({**asked, "invented": 1}, taken)


def test_the_page_fetches_nothing(server: Running) -> None:
    response = httpx.get(f"{server.url}/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"<script|src=|@import|https?://", response.text)
    for path in RULES:
        assert path.replace(":path", "") in response.text
