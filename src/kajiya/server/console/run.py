"""From a workspace to a running console: pages and API in one process."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import ASGIApp

from kajiya.core.workspace import Workspace
from kajiya.inference.protocol import EngineSettings
from kajiya.server.access.audit import Audit
from kajiya.server.access.gate import open_accounts
from kajiya.server.console.app import create_console, side_by_side
from kajiya.server.console.context import Console
from kajiya.server.housekeeping import RetentionSettings, apply_retention
from kajiya.server.serve import serve
from kajiya.server.settings import ServerSettings


def run_console(
    workspace: Workspace,
    settings: ServerSettings | None = None,
    engine_settings: EngineSettings | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the pages and the API until interrupted; raises what `serve` raises.

    `on_ready` is given the address to open: with a token that is good once, while nobody is registered.
    """
    made: list[Console] = []

    def front(api: FastAPI) -> ASGIApp:
        pages = create_console(workspace, api.state.gateway, api.state.serving)
        made.append(pages.state.console)
        return side_by_side(api, pages)

    def ready(url: str, _: str) -> None:
        console = made[0]
        first = "" if console.people.any() else f"first?token={console.first_token}"
        on_ready(f"{url}/{first}")

    _tidy_up(workspace)
    serve([], workspace, settings, engine_settings, ready, front, workspace.served)


def _tidy_up(workspace: Workspace) -> None:
    """What was chosen to go after some days goes now."""
    settings = RetentionSettings.of(workspace)
    if settings == RetentionSettings():
        return
    database = open_accounts(workspace)
    gone = apply_retention(workspace, database, settings)
    if any(gone.values()):
        Audit(database).add("", "retention.applied", "", **gone)
    database.close()
