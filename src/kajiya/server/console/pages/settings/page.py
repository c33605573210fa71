"""Settings: the tabs and their routes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from kajiya.server.access.users import Role
from kajiya.server.console.context import page
from kajiya.server.console.page import Page, Route
from kajiya.server.console.pages.settings import audit, people, storage


async def show_language(request: Request) -> Response:
    return page(request, "settings/language.html")


PAGE = Page(
    "settings",
    icon="settings",
    routes=(
        Route("GET", "/settings", show_language, Role.VIEWER),
        Route("GET", "/settings/people", people.show, Role.ADMIN),
        Route("POST", "/settings/people", people.add, Role.ADMIN),
        Route("POST", "/settings/people/{user}/role", people.set_role, Role.ADMIN),
        Route("POST", "/settings/people/{user}/password", people.set_password, Role.ADMIN),
        Route("POST", "/settings/people/{user}/close", people.close, Role.ADMIN),
        Route("POST", "/settings/people/{user}/reopen", people.reopen, Role.ADMIN),
        Route("GET", "/settings/storage", storage.show, Role.ADMIN),
        Route("POST", "/settings/storage/clean", storage.clean, Role.ADMIN),
        Route("POST", "/settings/storage/retention", storage.set_retention, Role.ADMIN),
        Route("GET", "/settings/audit", audit.show, Role.ADMIN),
        Route("GET", "/settings/audit.csv", audit.export, Role.ADMIN),
    ),
)
