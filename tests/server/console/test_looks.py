"""Every page in both languages, light and dark, wide and phone: axe finds nothing, and no text is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kajiya.server.console.navigation import PAGES
from support.console import RunningConsole, open_tab, sign_in_tab
from support.looks import clipped, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

# All that has an address of its own; those of single things are looked at where such things are made.
ADDRESSES = sorted(
    route.path
    for page in PAGES
    for route in page.routes
    if route.method == "GET" and "{" not in route.path and not route.path.endswith(".csv")
)


@pytest.fixture(scope="module")
def cookies(browser: Browser, console: RunningConsole) -> Iterator[Any]:
    """Signed in once for all looks."""
    with open_tab(browser, console.url) as page:
        sign_in_tab(page)
        yield page.context.storage_state()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_is_accessible_and_whole(
    browser: Browser, console: RunningConsole, cookies: Any, address: str, language: str, dark: bool
) -> None:
    known = None if address in ("/sign-in", "/first") else cookies
    options = {"language": language, "dark": dark, "storage_state": known}
    with open_tab(browser, console.url, **options) as page:
        response = page.goto(address)
        assert response is not None
        assert response.status == 200
        if not response.headers["content-type"].startswith("text/html"):
            pytest.skip("data, not a page")
        assert page.evaluate("document.documentElement.lang") == language
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert clipped(page) == [], width
            assert violations(page) == [], width


def test_cut_off_text_would_be_noticed(browser: Browser, console: RunningConsole) -> None:
    with open_tab(browser, console.url) as page:
        page.goto("/sign-in")
        page.evaluate("document.querySelector('h1').textContent = '鍛'.repeat(200)")
        assert clipped(page) == []
        page.evaluate(
            "Object.assign(document.querySelector('h1').style, "
            "{ whiteSpace: 'nowrap', overflow: 'hidden' })"
        )
        assert clipped(page) != []
