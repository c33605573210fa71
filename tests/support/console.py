"""A console in a process of its own, and readers of it: over HTTP, and in a browser."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

OWNER, PASSWORD = "owner", "hammer and anvil"
_TOKEN = re.compile(r'name="csrf-token" content="([0-9a-f]+)"')


class Reader(httpx.Client):
    """Somebody with a browser's cookies; what he sends carries the token of the page he saw last."""

    def __init__(self, url: str, language: str = "en") -> None:
        super().__init__(
            base_url=url, headers={"Accept": "text/html", "Accept-Language": language}, timeout=60
        )

    def see(self, path: str) -> httpx.Response:
        """Open a page."""
        response = self.get(path)
        if found := _TOKEN.search(response.text):
            self.headers["X-CSRF-Token"] = found[1]
        return response

    def submit(self, path: str, **fields: str) -> httpx.Response:
        """Send a form."""
        return self.post(path, data=fields, headers={"Origin": str(self.base_url).rstrip("/")})

    def first_start(self, url: str, name: str = OWNER, password: str = PASSWORD) -> Reader:
        token = parse_qs(urlsplit(url).query)["token"][0]
        self.see(url)
        sent = self.submit("/first", token=token, name=name, password=password, again=password)
        assert sent.status_code == 303, sent.text
        self.see("/account")
        return self

    def sign_in(self, name: str = OWNER, password: str = PASSWORD) -> Reader:
        self.see("/sign-in")
        sent = self.submit("/sign-in", name=name, password=password)
        assert sent.status_code == 303, sent.text
        self.see("/account")
        return self


def images(html: str) -> list[str]:
    """The images in a page, or a part of one, but the shell's own mark."""
    return re.findall(r'<img(?! class="mark" src="/static/[^"<>]*" alt="">)[^>]*', html)


@dataclass
class RunningConsole:
    """A console that tests look at. `first_url` has the one-time token, if nobody is registered."""

    url: str
    first_url: str
    process: subprocess.Popen[str]
    home: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def reader(self, language: str = "en") -> Reader:
        """Nobody yet: use `first_start` or `sign_in`."""
        return Reader(self.url, language)


@contextlib.contextmanager
def running_console(home: Path, port: int = 0) -> Iterator[RunningConsole]:
    """The console of the workspace `home`, until the block ends. Run it again with its port: a restart."""
    command = [sys.executable, "-m", "kajiya.cli.main", "console", "--port", str(port)]
    environment = {
        **os.environ,
        "KAJIYA_HOME": str(home),
        "KAJIYA_LANG": "en",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = next(line.strip() for line in process.stdout if "http://" in line)
        url = f"http://{urlsplit(address).netloc}"
        yield RunningConsole(url, address, process, home)
    finally:
        process.terminate()
        process.communicate()


def find_chromium() -> str:
    """A Chromium of this machine. Tests are skipped without one, unless this is a check that must not."""
    path = (
        os.environ.get("KAJIYA_CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("chromium-browser")
    )
    if path is None:
        reason = "no Chromium: apt install chromium fonts-noto-cjk, or name one in KAJIYA_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium without a window. It keeps an event loop: no asynchronous test may run inside the block."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root there is no sandbox; a container has little shared memory.
        arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.getuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def open_tab(
    browser: Browser,
    url: str,
    *,
    width: int = 1440,
    height: int = 900,
    dark: bool = False,
    language: str = "en",
    **options: Any,
) -> Iterator[Page]:
    """A tab with cookies of its own. Afterwards nothing may have been asked of another host, or gone wrong.

    Requests that a test expects to fail are named in `page.expected`, a list of parts of messages.
    """
    context: BrowserContext = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale="ja-JP" if language == "ja" else "en-GB",
        reduced_motion="reduce",
        **options,
    )
    wrong: list[str] = []
    expected: list[str] = []
    own = (url, "data:", "blob:", "about:")
    context.on(
        "request", lambda r: wrong.append(f"asked {r.url}") if not r.url.startswith(own) else None
    )
    context.on(
        "console",
        lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None,
    )
    context.on("weberror", lambda e: wrong.append(f"script: {e.error}"))
    page = context.new_page()
    page.expected = expected  # type: ignore[attr-defined]
    page.set_default_timeout(20_000)
    try:
        yield page
    finally:
        context.close()
    unexpected = [text for text in wrong if not any(part in text for part in expected)]
    if unexpected:
        raise AssertionError("\n".join(unexpected))  # pytest explains a plain assert in tests only


def sign_in_tab(page: Page, name: str = OWNER, password: str = PASSWORD) -> None:
    """Fill in the form as a person would."""
    page.goto("/sign-in")
    page.locator("#name").fill(name)
    page.locator("#password").fill(password)
    page.locator("button.primary").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def wait_until(page: Page, expression: str, arg: Any = None, seconds: float = 20) -> None:
    """Ask the page until `expression` is true.

    Playwright's `wait_for_function` asks from within the page, where our policy forbids to evaluate text.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression, arg):
        if time.monotonic() > end:
            raise TimeoutError(expression)
        page.wait_for_timeout(10)


def drop(page: Page, target: str, file: Path) -> None:
    """Drop a file on the place for `target`, as a mouse does."""
    transfer = page.evaluate_handle(
        "([name, text]) => { const t = new DataTransfer();"
        " t.items.add(new File([text], name, { type: 'text/csv' })); return t; }",
        [file.name, file.read_text(encoding="utf-8")],
    )
    page.dispatch_event(f'[data-target="{target}"]', "drop", {"dataTransfer": transfer})
