"""A web of hosts on this machine: answers recorded in a test, served over HTTP to whoever is let through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from kajiya.corpus.sources.addresses import Address
from kajiya.corpus.sources.fetch import Fetcher
from kajiya.corpus.sources.network import NetworkSource

Headers = dict[str, str]
Page = tuple[int, Headers, bytes] | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """`pages` by path, served for every host; `asked` is what was asked for: (host, path, user agent)."""

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 0.0

    def host(self, name: str = "news.example") -> str:
        return f"{name}:{self.port}"

    def url(self, path: str, name: str = "news.example") -> str:
        return f"http://{self.host(name)}{path}"

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]

    def page(self, path: str, body: str | bytes, kind: str = "text/html; charset=utf-8") -> str:
        raw = body.encode() if isinstance(body, str) else body
        self.pages[path] = (200, {"Content-Type": kind}, raw)
        return self.url(path)

    def redirect(self, path: str, to: str) -> str:
        self.pages[path] = (302, {"Location": to}, b"")
        return self.url(path)

    def fetcher(self, settings: NetworkSource, **changes: Any) -> Fetcher:
        """One that finds every host here, on a loopback address that only it accepts, and never waits."""
        given: dict[str, Any] = {
            "resolve": lambda host, port: [ip_address("127.0.0.1")],
            "allowed": self._is_this_machine,
            "sleep": self._sleep,
            "clock": lambda: self.now,
        }
        return Fetcher(settings, **(given | changes))

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @staticmethod
    def _is_this_machine(address: Address) -> bool:
        return str(address) == "127.0.0.1"


@contextmanager
def web() -> Iterator[Web]:
    """A running web without any page but what the test adds; the rest is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(
                (self.headers["Host"], self.path, self.headers.get("User-Agent", ""))
            )
            page = served.pages.get(self.path, (404, {}, b""))
            if callable(page):
                page(self)
                return
            status, headers, body = page
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Web(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
