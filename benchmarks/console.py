"""The console as a browser meets it: the first page, and the weight of the heaviest page.

The first page is the sign-in form of a console that has just been started; a page of its own is loaded by Chromium with
an empty cache until nothing more comes. The peer is `kajiya`'s own limit from the mission: 200 ms and 300 kB
without fonts; and, in turns with ours, a page of one word from a bare server, which is what the browser itself takes.
Needs the extra `dev` and a Chromium.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from common import Result, options, report

LIMIT_MS, LIMIT_KB = 200.0, 300.0


def main() -> None:
    arguments = options(__doc__)
    with tempfile.TemporaryDirectory() as folder, console(Path(folder)) as url:
        cookie = sign_in(Path(folder))
        first, empty, heaviest, path = look(url, cookie, 3 if arguments.quick else 15)
    limit = "the limit"
    report(
        [
            Result(
                "console: first page until it is complete",
                "ms",
                first,
                LIMIT_MS,
                limit,
                LIMIT_MS / first,
                1.0,
            ),
            Result(
                "console: the same against a page of one word",
                "ms",
                first,
                empty,
                "http.server",
                empty / first,
                None,
            ),
            Result(
                f"console: weight of the heaviest page ({path})",
                "kB",
                heaviest,
                LIMIT_KB,
                limit,
                LIMIT_KB / heaviest,
                1.0,
            ),
        ],
        arguments.json,
    )


@contextmanager
def console(home: Path) -> Iterator[str]:
    """A console on an empty workspace."""
    command = [sys.executable, "-u", "-m", "kajiya.cli.main", "console", "--port", "0"]
    environment = {**os.environ, "KAJIYA_HOME": str(home)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = next(line.strip() for line in process.stdout if "http://" in line)
        yield f"http://{urlsplit(address).netloc}"
    finally:
        process.terminate()
        process.wait()


def sign_in(home: Path) -> str:
    """What the cookie of a signed-in administrator holds."""
    from kajiya.core.workspace import Workspace
    from kajiya.server.access.gate import open_accounts
    from kajiya.server.access.sessions import Sessions
    from kajiya.server.access.users import People

    database = open_accounts(Workspace(home))
    return Sessions(database).begin(People(database).create_first("sato", "hammer and anvil"))


@contextmanager
def bare_server() -> Iterator[str]:
    """A server of one word."""

    class Word(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!doctype html><title>word</title>word"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Word)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


def look(url: str, cookie: str, rounds: int) -> tuple[float, float, float, str]:
    """Milliseconds to the first page and to a page of one word (medians), kilobytes of the heaviest page, and which that is."""
    from playwright.sync_api import sync_playwright

    from kajiya.server.console.navigation import PAGES

    paths = [
        route.path
        for page in PAGES
        for route in page.routes
        if route.method == "GET" and "{" not in route.path and not route.path.endswith(".csv")
    ]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with bare_server() as bare, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        load(browser, bare, "")  # the browser's own first page
        times = [
            [load(browser, address, "")[0] for address in (f"{url}/sign-in", bare)]
            for _ in range(rounds)
        ]
        weights = [(load(browser, url + path, cookie)[1], path) for path in paths]
        browser.close()
    heaviest, path = max(weights)
    first, empty = (statistics.median(column) for column in zip(*times, strict=True))
    return first, empty, heaviest, path


def load(browser: Any, address: str, cookie: str) -> tuple[float, float]:
    """Milliseconds from asking to the load event, and kilobytes of bodies without fonts, with an empty cache."""
    context = browser.new_context()
    if cookie:
        port = urlsplit(address).port
        context.add_cookies([{"name": f"kajiya-{port}", "value": cookie, "url": address}])
    page = context.new_page()
    page.goto(address, wait_until="networkidle")
    timing, entries = page.evaluate(
        """() => [performance.getEntriesByType("navigation")[0].toJSON(),
                  performance.getEntriesByType("resource").map((e) => e.toJSON())]"""
    )
    sizes = [e["decodedBodySize"] for e in entries if not e["name"].endswith(".woff2")]
    context.close()
    return timing["loadEventEnd"], (timing["decodedBodySize"] + sum(sizes)) / 1000


if __name__ == "__main__":
    main()
