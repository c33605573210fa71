"""Serving and keys as an administrator does it: from nothing served to a key that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import openai
import pytest

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.store.artifacts import ArtifactStore
from support.console import RunningConsole, open_tab, sign_in_tab
from support.looks import clipped, violations
from support.studio import have_served, running_studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def console(
    tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningConsole]:
    with running_studio(tmp_path_factory.mktemp("workspace") / "home", tiny_model) as made:
        yield made


def test_from_nothing_to_a_key_that_is_refused(console: RunningConsole, tab: Page) -> None:
    tab.goto("/serving")
    tab.get_by_text("Nothing is served").wait_for()
    tab.select_option("#reference", "village")
    tab.get_by_role("button", name="Serve", exact=True).click()
    tab.get_by_role("heading", name="Engine 0").wait_for()  # the page sees it come by itself
    tab.get_by_role("button", name="Load: village").click()
    tab.locator(".badge", has_text="Up").wait_for()

    tab.get_by_role("link", name="API keys").click()
    tab.fill("#name", "wiki-bot")
    tab.get_by_text("Scope and limits").click()
    tab.get_by_role("textbox", name="Models").fill("village")
    tab.get_by_role("button", name="Make the key").click()
    secret = tab.locator("#secret").inner_text()
    address = tab.locator("dd code").inner_text()
    with openai.OpenAI(base_url=address, api_key=secret, max_retries=0, timeout=60) as client:

        def ask() -> str | None:
            made = client.chat.completions.create(
                model="village", messages=HELLO, max_tokens=2, temperature=0
            )
            return made.choices[0].message.content

        assert ask() == " the quick"
        tab.get_by_role("link", name="I have copied it").click()
        assert secret not in tab.content()
        tab.get_by_role("link", name="wiki-bot").click()
        assert secret not in tab.content()
        tab.get_by_role("button", name="Revoke").first.click()
        dialog = tab.get_by_role("dialog", name="Revoke wiki-bot?")
        assert ask() == " the quick"  # not before it was confirmed
        dialog.get_by_role("button", name="Revoke").click()
        tab.locator(".badge", has_text="revoked").wait_for()
        with pytest.raises(openai.AuthenticationError):
            ask()
    tab.get_by_role("link", name="Usage").click()
    tab.get_by_role("cell", name="wiki-bot").wait_for()

    tab.goto("/serving")
    tab.get_by_role("button", name="Take down: village").click()
    tab.get_by_text("Nothing is served").wait_for()


def test_the_code_that_is_shown_runs(console: RunningConsole, tab: Page) -> None:
    with console.reader() as reader:
        have_served(reader.sign_in(), "legal")
    key = (console.home / "key").read_text().strip()
    tab.goto("/serving")
    tab.get_by_text("JavaScript", exact=True).click()
    code = tab.locator("#code-3").inner_text().replace("kj-…", key)
    code = code.replace("temperature: 0", "temperature: 0, max_tokens: 2")
    with tab.expect_console_message(lambda message: "legal" in message.text):
        tab.evaluate(f"async () => {{ {code} }}")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_pages_with_something_on_them(
    browser: Browser, console: RunningConsole, language: str
) -> None:
    with console.reader() as reader:
        reader.sign_in()
        reader.see("/serving")
        reader.submit("/serving/models", reference="hamlet")
        reader.see("/serving/keys")
        reader.submit("/serving/keys", name=f"鍵-{language}", owner="総務部", rpm_limit="30")
    with open_tab(browser, console.url, language=language) as tab:
        sign_in_tab(tab)
        tab.goto("/serving/keys")
        page = tab.locator("td a").first.get_attribute("href")
        model = "/models/adapter/legal/1"
        for address in ("/serving", "/serving/keys", page, "/serving/usage", "/models", model):
            assert address
            tab.goto(address)
            for dark in ("light", "dark"):
                tab.emulate_media(color_scheme=dark)  # type: ignore[arg-type]
                for width in (1440, 390):
                    tab.set_viewport_size({"width": width, "height": 900})
                    assert clipped(tab) == [], (address, width)
                    assert violations(tab) == [], (address, width)


def test_a_hostile_card_is_only_text(console: RunningConsole, tab: Page) -> None:
    evil = "<img src=x onerror='window.hacked=1'>![x](http://evil.example/x.png)[y](javascript:1)"
    store = ArtifactStore(Workspace(console.home))
    with store.draft("model", "hostile", description=evil, config={evil: evil}) as draft:
        draft.details["source"] = evil
    tab.goto("/models/model/hostile/1")
    tab.locator("#card td", has_text="onerror").first.wait_for()
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("#card").locator("img, script, iframe").count() == 0
    assert tab.locator("#card a[href^='javascript']").count() == 0


def test_what_is_copied_is_said_in_words(browser: Browser, console: RunningConsole) -> None:
    with open_tab(browser, console.url, language="ja") as tab:
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        sign_in_tab(tab)
        tab.goto("/serving")
        tab.locator("[data-copies=url]").click()
        tab.locator(".message", has_text="コピーしました").wait_for()
        assert tab.evaluate("navigator.clipboard.readText()") == f"{console.url}/v1"


def test_a_card_is_shown_and_an_export_is_downloaded(tab: Page) -> None:
    tab.goto("/models/model/village/1")
    tab.locator("#card td", has_text="base.gguf").wait_for()
    tab.locator("svg.lineage").wait_for()
    tab.select_option("#form", "ollama")
    tab.get_by_role("button", name="Export").click()
    link = tab.get_by_role("link", name="village-1-ollama.zip")
    link.wait_for()
    with tab.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "village-1-ollama.zip"
