"""Pictures of every page of the console, in both languages, wide and phone, light and dark.

`python scripts/screenshots.py WORKSPACE` shows what that workspace holds: forge something in it first, so that pages of
single things (a job, a model, a conversation) are there to be found; `--also` names more of them. Needs the extra `dev` and a Chromium. Signs in
as the workspace's first administrator, or makes one called `sato`.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from kajiya.core.workspace import Workspace
from kajiya.server.access.gate import open_accounts
from kajiya.server.access.sessions import Sessions
from kajiya.server.access.users import People, Role
from kajiya.server.console.navigation import PAGES
from kajiya.server.console.page import Route

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
SIZES = {"wide": (1440, 900), "phone": (390, 844)}
LOCALES = {"ja": "ja-JP", "en": "en-GB"}
TALLEST = 2400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--only", default="", help="pages whose name begins so")
    parser.add_argument(
        "--also", action="append", default=[], metavar="NAME=ADDRESS", help="one more page"
    )
    parser.add_argument("--language", choices=LOCALES, action="append", help="by default both")
    parser.add_argument("--to", type=Path, default=FOLDER, help="the folder for the pictures")
    parser.add_argument("--png", action="store_true", help="PNG instead of WebP")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace.absolute())
    arguments.to.mkdir(parents=True, exist_ok=True)
    cookie = sign_in(workspace)
    with (
        tempfile.TemporaryDirectory() as empty,
        console(workspace) as url,
        console(Workspace(Path(empty))) as new,
        sync_playwright() as playwright,
    ):
        own = f"http://{urlsplit(url).netloc}"
        for language in arguments.language or LOCALES:
            with chromium(playwright, language) as browser:
                pages = find_pages(browser, own, cookie) | {"sign-in": "/sign-in", "first": new}
                pages |= dict(each.split("=", 1) for each in arguments.also)
                for name, address in pages.items():
                    if name.startswith(arguments.only):
                        known = "" if name in ("sign-in", "first") else cookie
                        take(browser, own, known, name, address, language, arguments)


@contextmanager
def chromium(playwright: Playwright, language: str) -> Iterator[Browser]:
    """A browser whose own words (those of a field for a date, say) are in `language`, too."""
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
        args=["--no-sandbox"],
        env={**os.environ, "LANGUAGE": language},
    )
    try:
        yield browser
    finally:
        browser.close()


def sign_in(workspace: Workspace) -> str:
    """What the cookie of a signed-in browser holds."""
    database = open_accounts(workspace)
    people = People(database)
    if not people.any():
        people.create_first("sato", secrets.token_urlsafe(16))
    admin = next(user for user in people.list() if user.role is Role.ADMIN and not user.closed_at)
    return Sessions(database).begin(admin)


@contextmanager
def console(workspace: Workspace) -> Iterator[str]:
    """A console of this workspace, on any port; the address to open, with the token of a first start."""
    command = [sys.executable, "-u", "-m", "kajiya.cli.main", "console", "--port", "0"]
    environment = workspace.environment()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield next(line.strip() for line in process.stdout if "http://" in line)
    finally:
        process.terminate()
        process.wait()


def find_pages(browser: Browser, url: str, cookie: str) -> dict[str, str]:
    """Names and addresses: all pages, and of pages of single things the first that some page links to."""
    routes = [route for page in PAGES for route in page.routes if route.method == "GET"]
    found: dict[str, str] = {}
    with tab(browser, url, cookie) as page:
        links: list[str] = []
        for route in routes:
            if "{" not in route.path and is_page(page, route.path):
                found[name_of(route)] = route.path
                links += page.eval_on_selector_all(
                    "main a[href]:not([download])", "all => all.map(a => a.pathname)"
                )
        for route in routes:
            pattern = re.compile(re.sub(r"\{[^}]*\}", "[^/]+", route.path))
            new = (link for link in links if pattern.fullmatch(link))
            one = next((link for link in new if link not in found.values()), None)
            if "{" in route.path and one and is_page(page, one):
                found[name_of(route)] = one
    return found


def is_page(page: Page, address: str) -> bool:
    """Whether something to look at is there, and does not lead elsewhere."""
    if address.endswith((".csv", ".txt", "/events", "/download")) or "/export/" in address:
        return False
    response = page.goto(address)
    assert response is not None
    html = response.headers["content-type"].startswith("text/html")
    return html and response.ok and response.request.redirected_from is None


def name_of(route: Route) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\{[^}]*\}", "one", route.path)).strip("-") or "start"


@contextmanager
def tab(browser: Browser, url: str, cookie: str, **options: Any) -> Iterator[Page]:
    context = browser.new_context(base_url=url, reduced_motion="reduce", **options)
    if cookie:
        port = urlsplit(url).port
        context.add_cookies([{"name": f"kajiya-{port}", "value": cookie, "url": url}])
    try:
        yield context.new_page()
    finally:
        context.close()


def take(
    browser: Browser,
    url: str,
    cookie: str,
    name: str,
    address: str,
    language: str,
    chosen: argparse.Namespace,
) -> None:
    """All pictures of one page in one language."""
    kind = "png" if chosen.png else "webp"
    for theme in ("light", "dark"):
        with tab(browser, url, cookie, locale=LOCALES[language], color_scheme=theme) as page:
            for size, (width, height) in SIZES.items():
                page.set_viewport_size({"width": width, "height": height})
                page.goto(address)
                page.locator("[aria-busy=true]").first.wait_for(state="detached")
                page.wait_for_timeout(400)  # for what scripts draw
                file = chosen.to / f"{name}-{language}-{size}-{theme}.{kind}"
                file.write_bytes(picture(page, width, kind))
    print(name, language, flush=True)


def picture(page: Page, width: int, kind: str) -> bytes:
    """The whole page, or its upper part if it is very long."""
    tall = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    page.set_viewport_size({"width": width, "height": tall})
    made = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot",
        {"format": kind, **({"quality": 70} if kind == "webp" else {})},
    )
    return base64.b64decode(made["data"])


if __name__ == "__main__":
    main()
