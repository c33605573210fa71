"""The whole story in one browser: from the first start to a key that is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from kajiya.core.workspace import Workspace
from support.console import OWNER, PASSWORD, drop, open_tab, running_console, wait_until
from support.looks import clipped, violations
from support.tiny_models import register_base

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "company-faq"
SLOW = 120_000  # milliseconds, for what loads models
QUESTION: Any = [{"role": "user", "content": "昼休みはいつですか。"}]
NOW = "li[aria-current=step] h2"


def test_from_the_first_start_to_a_revoked_key(browser: Browser, tmp_path: Path) -> None:
    home = tmp_path / "home"
    register_base(Workspace(home).create())  # in place of a starter, which takes minutes
    with running_console(home) as console:
        port = console.port
        with open_tab(browser, console.url) as page:
            # The restart below and the refused forms are meant to be seen.
            page.expected += ["Failed to load resource", "ERR_"]  # type: ignore[attr-defined]
            first_start(page, console.first_url)
            train(page)
            watch(page)
            before = steps(page)
            console.process.terminate()
            console.process.wait()
            with running_console(home, port):
                go_on(page, before)
                finish(page)
                talk(page)
                make_and_revoke_a_key(page)
                page.goto("/welcome")
                page.get_by_text("All four steps are done.").wait_for()
                page.get_by_role("button", name="Done: go to work").click()
                page.wait_for_url("**/train")
                page.goto("/")
                page.wait_for_url("**/train")
                page.goto("/settings/audit")
                for action in ("user.first", "data.uploaded", "key.created", "key.revoked"):
                    assert page.locator("code", has_text=action).count(), action


def first_start(page: Page, address: str) -> None:
    page.goto(address)
    page.fill("#name", OWNER)
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("button.primary")
    page.wait_for_url("**/welcome")
    assert page.locator(NOW).inner_text() == "Choose the data"


def train(page: Page) -> None:
    page.get_by_role("link", name="Use a file of your own").click()
    page.wait_for_url("**/train")
    drop(page, "data", EXAMPLE / "faq.csv")
    page.wait_for_url("**/train?data=upload*")
    page.get_by_text("120 of 120 rows can be learnt from").wait_for(timeout=SLOW)
    page.locator('input[name="base"][value="tiny-base:1"]').check()
    page.wait_for_url("**base=tiny-base*")
    page.locator("#more > summary").click()
    for name, value in {"epochs": "60", "batch_tokens": "256", "rank": "4"}.items():
        page.locator(f"#{name}").fill(value)
    page.locator("#epochs").blur()
    page.wait_for_url("**epochs=60*")
    page.reload()  # nothing that was chosen is lost
    assert page.locator("#epochs").input_value() == "60"
    page.locator("dl.estimate").wait_for(timeout=SLOW)
    page.locator("#name").fill("company")
    page.locator("#start").click()
    page.wait_for_url("**/jobs/*")
    page.locator(".u-over").wait_for(timeout=SLOW)


def watch(page: Page) -> None:
    page.locator("#tab-samples").click()
    page.locator(".answers li").first.wait_for()
    page.reload()
    assert "tab=samples" in page.url
    page.locator(".u-over").wait_for()


def steps(page: Page) -> int:
    wait_until(page, "document.getElementById('step').textContent.includes('/')")
    text = page.locator("#step").inner_text().split("/")[0]
    return int("".join(filter(str.isdigit, text)))


def go_on(page: Page, before: int) -> None:
    """The page finds the server again by itself, and missed nothing."""
    wait_until(
        page,
        "(before) => Number(document.getElementById('step').textContent"
        ".split('/')[0].replace(/\\D/g, '')) > before + 3",
        arg=before,
        seconds=SLOW / 1000,
    )
    page.go_back()
    page.go_forward()
    page.locator(".u-over").wait_for()


def finish(page: Page) -> None:
    job = page.url.split("?")[0]
    page.goto("/welcome")
    assert page.locator(NOW).inner_text() == "Train"
    page.get_by_role("link", name="Watch").click()
    page.wait_for_url(f"{job}*")
    page.get_by_role("button", name="Stop and save").first.click()
    page.locator("dialog[open] button").last.click()
    page.goto(job)
    page.get_by_text("company:1 is ready").wait_for(timeout=SLOW)
    assert page.locator(".pair").count() >= 2
    assert violations(page) == []
    assert clipped(page) == []


def talk(page: Page) -> None:
    page.get_by_role("link", name="Chat with it").click()
    page.wait_for_url("**/chat?*")
    page.get_by_role("button", name="Talk").click()
    page.wait_for_url("**/chat/chat-*")
    page.fill("#question", "昼休みはいつですか。")
    page.locator("#question").press("Enter")
    page.get_by_text(re.compile(r"\d+ tokens")).wait_for(timeout=60_000)
    page.goto("/welcome")
    assert page.locator(NOW).inner_text() == "Put it to use"


def make_and_revoke_a_key(page: Page) -> None:
    page.get_by_role("link", name="To models in use and keys").click()
    page.wait_for_url("**/serving/keys")
    page.fill("#name", "wiki-bot")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret").inner_text()
    address = page.locator("dd code").inner_text()
    with openai.OpenAI(base_url=address, api_key=secret, max_retries=0, timeout=60) as client:

        def ask() -> int:
            made = client.chat.completions.create(model="company", messages=QUESTION, max_tokens=4)
            return made.usage.completion_tokens if made.usage else 0

        assert ask() == 4
        page.get_by_role("link", name="I have copied it").click()
        page.get_by_role("link", name="wiki-bot").click()
        page.get_by_role("button", name="Revoke").first.click()
        dialog = page.get_by_role("dialog", name="Revoke wiki-bot?")
        dialog.get_by_role("button", name="Revoke").click()
        page.locator(".badge", has_text="revoked").wait_for()
        with pytest.raises(openai.AuthenticationError):
            ask()
