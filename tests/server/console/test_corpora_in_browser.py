"""A corpus as a person makes one in a browser: recipe, run, report, kept and dropped, take-down; and how it looks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kajiya.core.workspace import Workspace
from kajiya.store.artifacts import ArtifactStore
from support.console import RunningConsole, open_tab, running_console, sign_in_tab
from support.looks import clipped, violations
from support.recipes import follow, make_sources, register

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

LOOKS = [(language, dark) for language in ("en", "ja") for dark in (False, True)]
SLOW = 120_000  # milliseconds, for what starts processes
ONE = "/corpora/mixed/versions/1"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("ground") / "texts").parent


@pytest.fixture(scope="module")
def console(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """A console with one corpus, in which nobody named a folder yet."""
    home = tmp_path_factory.mktemp("corpora") / "home"
    store = ArtifactStore(Workspace(home).create())
    product = follow(ground / "recipe.yaml", tmp_path_factory.mktemp("work") / "run")
    register(store, product, "mixed")
    with running_console(home) as made:
        made.reader().first_start(made.first_url).close()
        yield made


def fine(page: Page) -> None:
    """Nothing is cut off, and axe finds nothing, wide and on a phone."""
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert clipped(page) == [], (page.url, width)
        assert violations(page) == [], (page.url, width)
    page.set_viewport_size({"width": 1440, "height": 900})


def test_from_a_recipe_to_a_take_down(tab: Page, ground: Path) -> None:
    tab.goto("/corpora")
    tab.get_by_role("link", name="New corpus").click()
    tab.get_by_text("No folder of this machine may be read").wait_for()
    tab.locator("#folders").fill(str(ground))
    tab.get_by_role("button", name="Save").click()
    tab.locator(f'#base option:text-is("{ground}")').wait_for(state="attached")

    # A file is opened; a mistake in it is told with its line, which can be gone to.
    tab.set_input_files("#file", ground / "recipe.yaml")
    tab.get_by_text("The recipe can be followed. Sources in it: 2.").wait_for(timeout=SLOW)
    recipe = tab.locator("#recipe").input_value()
    tab.locator("#recipe").fill(recipe.replace("rules:", "ruels:"))
    tab.get_by_text("there is no such setting").wait_for()
    tab.get_by_role("button", name="Go to line 5").click()
    chosen = "((e) => e.value.slice(e.selectionStart, e.selectionEnd))(document.activeElement)"
    assert tab.evaluate(chosen) == "ruels: rules.yaml"
    tab.reload()
    assert "ruels" in tab.locator("#recipe").input_value()  # nothing that was written is lost
    tab.locator("#recipe").fill(recipe)
    tab.get_by_text("The recipe can be followed").wait_for()
    tab.get_by_role("button", name="Look at the sources").click()
    tab.get_by_role("rowheader", name="books").wait_for(timeout=SLOW)
    fine(tab)

    tab.locator("#name").fill("village")
    tab.locator("#start").click()
    tab.wait_for_url("**/jobs/*")
    tab.get_by_role("link", name="See the corpus").wait_for(timeout=SLOW)
    assert tab.locator("#stages li").count() >= 5
    tab.locator("#tab-options").click()
    fine(tab)
    tab.get_by_role("link", name="See the corpus").click()

    # From what a rule dropped to the documents, and to one of them.
    tab.get_by_role("heading", name="village").wait_for()
    fine(tab)
    tab.get_by_role("link", name="Characters", exact=True).click()
    tab.wait_for_url("**side=dropped*")
    assert tab.locator("article.document").count() >= 6
    tab.get_by_role("link", name="Side by side").click()
    tab.get_by_role("heading", name=re.compile(r"Kept \d+")).wait_for()
    assert tab.locator(".side.kept article").count() == 10
    assert tab.locator(".side.dropped article").count() == 6
    fine(tab)
    tab.locator("#words").fill("w18")
    tab.locator("#words").press("Enter")
    tab.wait_for_url("**words=w18*")
    tab.get_by_role("link", name="記事 18").click()
    tab.get_by_text("Kept: it is in the corpus.").wait_for()
    assert "[PHONE]" in tab.locator("pre").inner_text()
    fine(tab)

    tab.get_by_role("link", name="This document").click()
    tab.get_by_role("button", name="Take out").click()
    dialog = tab.get_by_role("dialog", name="Take out 1 documents?")
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    fine(tab)
    tab.get_by_role("button", name="Take out").click()
    dialog.get_by_role("button", name="Take out").click()
    tab.wait_for_url("**/jobs/*")
    tab.get_by_role("link", name="See the corpus").click(timeout=SLOW)
    tab.wait_for_url("**/corpora/village/versions/2")
    tab.get_by_text("Taken out of this version: w18 (1 documents).").wait_for()
    tab.goto("/corpora/village/versions/2/documents?words=w18")
    assert tab.get_by_role("link", name="記事 18").count() == 0


def test_the_report_runs_its_own_script_and_nothing_of_ours(
    browser: Browser, console: RunningConsole
) -> None:
    with open_tab(browser, console.url) as page:
        sign_in_tab(page)
        page.goto(ONE)
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Report", exact=True).click()
        report = opened.value
        report.wait_for_load_state()
        assert report.locator("h2").first.is_visible()
        language = "document.documentElement.dataset.lang"
        before = report.evaluate(language)
        report.locator("#language").click()
        assert report.evaluate(language) != before
        assert report.evaluate("window.origin") == "null"
        assert report.evaluate("window.opener") is None
        with pytest.raises(Exception, match="sandbox"):
            report.evaluate("document.cookie")
        style = report.evaluate("getComputedStyle(document.querySelector('main')).maxWidth")
        assert style == "1080px"


@pytest.mark.parametrize(("language", "dark"), LOOKS)
def test_looks(browser: Browser, console: RunningConsole, language: str, dark: bool) -> None:
    with open_tab(browser, console.url, language=language, dark=dark) as page:
        sign_in_tab(page)
        addresses = [
            *("/corpora", "/corpora/new", ONE, f"{ONE}/documents?side=kept"),
            *(f"{ONE}/documents", f"{ONE}/document?side=dropped&source=web&id=w7"),
            f"{ONE}/removal?what=CC0-1.0",
        ]
        for address in addresses:
            page.goto(address)
            page.evaluate("document.querySelectorAll('details').forEach((e) => (e.open = true))")
            fine(page)
