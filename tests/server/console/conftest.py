"""A console with an administrator, and a browser, for each module that wants them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support.console import (
    Reader,
    RunningConsole,
    open_browser,
    open_tab,
    running_console,
    sign_in_tab,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """A console on an empty workspace, whose administrator is `OWNER` with `PASSWORD`."""
    with running_console(tmp_path_factory.mktemp("workspace") / "home") as made:
        made.reader().first_start(made.first_url).close()
        yield made


@pytest.fixture
def owner(console: RunningConsole) -> Iterator[Reader]:
    """The administrator, signed in."""
    with console.reader() as reader:
        yield reader.sign_in()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; mark the tests with `browser`."""
    with open_browser() as made:
        yield made


@pytest.fixture
def tab(browser: Browser, console: RunningConsole) -> Iterator[Page]:
    """A tab in which the administrator is signed in; fails for console errors and foreign requests."""
    with open_tab(browser, console.url) as page:
        sign_in_tab(page)
        yield page
