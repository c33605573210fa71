"""The shell in a real browser: first start, menu, dialogs, keyboard, and what the policy blocks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.console import OWNER, PASSWORD, RunningConsole, open_tab, running_console, sign_in_tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


def test_the_first_start_from_the_terminal_to_the_tour(browser: Browser, tmp_path: Path) -> None:
    with running_console(tmp_path / "home") as console, open_tab(browser, console.url) as page:
        page.goto(console.first_url)
        page.fill("#name", OWNER)
        page.fill("#password", PASSWORD)
        page.fill("#again", "something else")
        page.expected.append("400 (Bad Request)")  # type: ignore[attr-defined]
        page.click("button.primary")
        page.wait_for_selector("text=The two passwords are not the same")
        page.fill("#password", PASSWORD)
        page.fill("#again", PASSWORD)
        page.click("button.primary")
        page.wait_for_url("**/welcome")
        page.reload()
        assert page.locator("li[aria-current=step] h2").inner_text() == "Choose the data"


def test_a_tab_goes_where_it_wanted_after_signing_in(
    browser: Browser, console: RunningConsole
) -> None:
    with open_tab(browser, console.url) as page:
        page.goto("/settings/audit?action=sign-in")
        page.fill("#name", OWNER)
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/settings/audit?action=sign-in")


def test_the_menu_of_a_phone_opens_and_closes(browser: Browser, console: RunningConsole) -> None:
    with open_tab(browser, console.url, width=390, height=800) as page:
        sign_in_tab(page)
        page.goto("/account")
        menu = page.get_by_role("navigation", name="Menu")
        assert not menu.is_visible()
        page.get_by_role("button", name="Menu").click()
        assert menu.is_visible()
        page.keyboard.press("Escape")
        assert not menu.is_visible()
        page.get_by_role("button", name="Menu").click()
        menu.get_by_role("link", name="Settings").click()
        page.wait_for_url("**/settings")


def test_a_question_is_asked_before_somebody_is_locked_out(tab: Page) -> None:
    tab.goto("/settings/people")
    tab.locator("#name").fill("tanaka")
    tab.locator("#password").fill(PASSWORD)
    tab.get_by_role("button", name="Add a person").click()
    row = tab.get_by_role("row", name="tanaka")
    row.get_by_role("button", name="Lock out").click()
    dialog = tab.get_by_role("dialog", name="Lock tanaka out?")
    assert dialog.is_visible()
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert row.get_by_text("locked out").count() == 0
    row.get_by_role("button", name="Lock out").first.click()
    dialog.get_by_role("button", name="Lock out").click()
    row.get_by_text("locked out").wait_for()


def test_what_is_missing_is_said_in_the_language_of_the_page(
    browser: Browser, console: RunningConsole
) -> None:
    with open_tab(browser, console.url, language="ja") as page:
        page.goto("/sign-in")
        page.locator("button.primary").click()
        told = "document.getElementById('name').validationMessage"
        assert page.evaluate(told) == "入力してください。"
        page.fill("#name", OWNER)
        assert page.evaluate(told) == ""
        sign_in_tab(page)
        page.goto("/settings/storage")
        page.fill("#audit", "-1")
        page.locator("form:has(#audit) button").click()
        assert page.evaluate(told.replace("'name'", "'audit'")) == "0 以上にしてください。"


def test_everything_is_reached_by_keyboard(tab: Page) -> None:
    tab.goto("/settings")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('nav.tabs') !== null")


def test_colours_are_chosen_and_stay(tab: Page) -> None:
    tab.goto("/settings")
    tab.get_by_label("Dark").check()
    tab.get_by_role("button", name="Save").click()
    tab.wait_for_selector("html[data-theme=dark]")
    tab.goto("/account")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 22, 20)"
    tab.goto("/settings")
    tab.get_by_label("As the system").check()
    tab.get_by_role("button", name="Save").click()
    tab.wait_for_selector("html:not([data-theme])")


_INLINE = """() => document.head.append(
  Object.assign(document.createElement("script"), { textContent: "window.hacked = 1" }))"""


def test_what_the_policy_blocks_would_be_noticed(browser: Browser, console: RunningConsole) -> None:
    with (
        pytest.raises(AssertionError, match="Content Security Policy"),
        open_tab(browser, console.url) as page,
    ):
        page.goto("/sign-in")
        with page.expect_console_message(lambda message: "inline script" in message.text):
            page.evaluate(_INLINE)
        assert page.evaluate("window.hacked") is None


def test_requests_to_other_hosts_would_be_noticed(
    browser: Browser, console: RunningConsole
) -> None:
    with (
        pytest.raises(AssertionError, match=r"asked http://127\.0\.0\.1:9/"),
        open_tab(browser, console.url) as page,
        pytest.raises(Exception, match="ERR_"),
    ):
        page.goto("http://127.0.0.1:9/")


def test_a_dangerous_name_is_only_a_name(tab: Page) -> None:
    name = "<img src=x onerror=alert(1)>'\"{{7*7}}"
    tab.goto("/settings/people")
    tab.locator("#name").fill(name)
    tab.locator("#password").fill(PASSWORD)
    tab.get_by_role("button", name="Add a person").click()
    tab.wait_for_url("**/settings/people")
    assert tab.get_by_role("rowheader", name=name).is_visible()
    tab.goto("/settings/audit")
    assert tab.get_by_role("cell", name=name).first.is_visible()


def test_a_link_on_another_site_leads_to_the_page(
    browser: Browser, console: RunningConsole
) -> None:
    with open_tab(browser, console.url) as page:
        sign_in_tab(page)
        page.goto("about:blank")
        page.evaluate(
            "(address) => { const a = document.createElement('a'); a.href = address; "
            "a.textContent = 'link'; document.body.append(a) }",
            f"{console.url}/settings/audit",
        )
        page.get_by_text("link").click()
        page.get_by_role("heading", name="Settings").wait_for()
        assert page.url == f"{console.url}/settings/audit"
