"""Who may open what: every route is walked with every role, so that none can be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from kajiya.core.workspace import Workspace
from kajiya.server.access.gate import Gate
from kajiya.server.access.users import Role
from kajiya.server.app import create_app
from kajiya.server.console.app import create_console
from kajiya.server.console.navigation import PAGES
from kajiya.server.console.page import Route
from kajiya.server.keys import load_or_make_key
from kajiya.server.settings import ServerSettings
from support.console import PASSWORD, Reader, RunningConsole

ROUTES = {route.name: route for page in PAGES for route in page.routes}
OPEN = {"GET /", "GET /first", "POST /first", "GET /sign-in", "POST /sign-in", "POST /taste"}
CHANGING = [name for name, route in ROUTES.items() if route.method != "GET"]
JSON = {"Accept": "application/json"}


def test_nothing_is_mounted_but_what_pages_declare(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    gate = Gate.open(load_or_make_key(workspace), workspace)
    api = create_app(ServerSettings(), {}, gate, workspace)
    app = create_console(workspace, api.state.gateway)
    gate.close()
    assert all(isinstance(route, APIRoute) for route in app.routes)
    mounted = {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert mounted == {*ROUTES, "GET /static/{hash}/{name:path}"}
    assert len(app.routes) == len(ROUTES) + 1
    assert not [name for name in mounted if re.match(r"\w+ /(v1|health|metrics|docs)", name)]


def test_what_is_open_is_meant_to_be() -> None:
    assert {name for name, route in ROUTES.items() if route.who is None} == OPEN
    assert {route.method for route in ROUTES.values()} <= {"GET", "POST", "PUT", "DELETE"}


@pytest.fixture(scope="module")
def people(console: RunningConsole) -> Iterator[dict[Role, Reader]]:
    """Somebody of each role, signed in."""
    readers = {Role.ADMIN: console.reader().sign_in()}
    for role in (Role.VIEWER, Role.TRAINER):
        made = readers[Role.ADMIN].submit(
            "/settings/people", name=role.value, password=PASSWORD, role=role.value
        )
        assert made.status_code == 303
        readers[role] = console.reader().sign_in(role.value)
    yield readers
    for reader in readers.values():
        reader.close()


@pytest.mark.parametrize("name", sorted(set(ROUTES) - OPEN))
def test_nobody_is_let_in_unknown(console: RunningConsole, name: str) -> None:
    route = ROUTES[name]
    refused = httpx.request(route.method, console.url + address(route), headers=JSON)
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "sign_in"
    page = httpx.get(console.url + address(route), headers={"Accept": "text/html"})
    assert page.status_code == 303
    assert page.headers["location"].startswith("/sign-in?next=%2F")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", sorted(set(ROUTES) - OPEN))
def test_each_role_opens_what_it_covers(people: dict[Role, Reader], name: str, role: Role) -> None:
    route = ROUTES[name]
    assert route.who is not None
    # Without the form's token nothing is changed by this walk, however far it gets.
    headers = {**JSON, "X-CSRF-Token": ""}
    with people[role].stream(route.method, address(route), headers=headers) as response:
        code = ""
        if response.status_code >= 400:
            response.read()
            code = response.json()["error"]["code"]
    assert (code == "insufficient_role") == (not role.covers(route.who))
    if role.covers(route.who):
        assert (code == "form_token") == (route.method != "GET")
        assert response.status_code < 500


@pytest.mark.parametrize("name", CHANGING)
def test_other_sites_change_nothing(people: dict[Role, Reader], name: str) -> None:
    route, admin = ROUTES[name], people[Role.ADMIN]
    token = {"X-CSRF-Token": admin.headers["X-CSRF-Token"]}
    for origin in ("http://evil.example", "null"):
        headers = {**JSON, **token, "Origin": origin}
        response = admin.request(route.method, address(route), headers=headers)
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "origin_not_allowed"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "0.0.0.0"])
def test_other_names_are_not_served(console: RunningConsole, host: str) -> None:
    for path in ("/sign-in", "/static/x/shell/console.css", "/v1/models"):
        assert httpx.get(console.url + path, headers={"Host": host}).status_code == 403


def test_every_answer_carries_the_policy(console: RunningConsole, owner: Reader) -> None:
    style = re.search(r'href="(/static/[^"]+)"', owner.see("/settings").text)
    assert style
    for path in ("/settings", "/sign-in", "/nowhere", style[1], "/static/0/shell/console.css"):
        headers = owner.get(path).headers
        assert "script-src" not in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"


def test_an_unknown_address_is_a_page_for_who_is_signed_in(owner: Reader) -> None:
    response = owner.see("/nowhere/<script>alert(1)</script>")
    assert response.status_code == 404
    assert "There is no such page" in response.text
    assert "<script>alert" not in response.text


@pytest.mark.parametrize(
    "path", ["..%2f..%2fapp.py", "shell/../page.py", "shell/js", "%2e%2e/x", "shell\\x"]
)
def test_only_files_that_were_listed_are_static(owner: Reader, path: str) -> None:
    address = re.search(r"(/static/[0-9a-f]+)/", owner.see("/settings").text)
    assert address
    assert owner.get(f"{address[1]}/{path}").status_code == 404


def address(route: Route) -> str:
    return re.sub(r"\{[^}]+\}", "none", route.path)
