"""A console with models to talk to, and short forms of what tests do there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from support.console import Reader, RunningConsole, running_console
from support.tiny_artifacts import register_adapter, register_model

NAMES = ("village", "legal", "tone")
_LIMIT = 60.0


@contextmanager
def running_studio(home: Path, tiny_model: ServableModel) -> Iterator[RunningConsole]:
    """A console with an administrator; the base "village" and over it "legal" and "tone" are registered."""
    workspace = Workspace(home)
    base = register_model(workspace, tiny_model, "village")
    register_adapter(workspace, base, tiny_model, "legal", " legal")
    register_adapter(workspace, base, tiny_model, "tone", " dog")
    with running_console(home) as made:
        made.reader().first_start(made.first_url).close()
        yield made


def have_served(reader: Reader, *names: str) -> None:
    """Serve these models, and wait until they are."""
    reader.see("/serving")
    for name in names:
        assert reader.submit("/serving/models", reference=name).status_code == 303
        wait_for(lambda: set(models(reader)["served"]), name)


def models(reader: Reader) -> dict[str, Any]:
    """Which models can be asked, and which are on their way."""
    found: dict[str, Any] = reader.get("/chat/models").json()
    return found


def begin_chat(reader: Reader, model: str) -> str:
    """A new conversation; returns its address."""
    reader.see("/chat")
    made = reader.submit("/chat", model=model)
    assert made.status_code == 303, made.text
    reader.see(made.headers["location"])
    return str(made.headers["location"])


def post(reader: Reader, path: str, body: Any) -> Any:
    """Send JSON as the page's script does; returns the answer's."""
    response = reader.post(path, json=body, headers={"Accept": "application/json"})
    assert response.status_code in (200, 204), response.text
    return response.json() if response.content else None


def answered(reader: Reader, chat: str) -> list[dict[str, Any]]:
    """All messages of a conversation once nothing is being written any more."""

    deadline = time.monotonic() + _LIMIT
    while True:
        found: list[dict[str, Any]] = reader.get(f"{chat}/messages").json()["messages"]
        if all(message["status"] != "running" for message in found):
            return found
        assert time.monotonic() < deadline, "it was not answered"
        time.sleep(0.05)


def wait_for(look: Callable[[], set[str]], wanted: str) -> None:
    """Until `wanted` is among what `look` finds. Needs no event loop of its own, as a browser has one."""
    deadline = time.monotonic() + _LIMIT
    while wanted not in look():
        assert time.monotonic() < deadline, f"{wanted} did not come"
        time.sleep(0.05)
