"""Addresses that no page made: every route with a part that is chosen by whoever asks."""

from __future__ import annotations

import http.client
import re
from urllib.parse import quote, urlsplit

import pytest

from kajiya.server.console.navigation import PAGES
from support.console import Reader, RunningConsole

ROUTES = {route.name: route for page in PAGES for route in page.routes if "{" in route.path}
PARTS = {
    "parent": "%2e%2e",
    "key": "..%2f..%2fkey",
    "twice": "%252e%252e%252f%252e%252e%252fkey",
    "backslash": "..%5c..%5ckey",
    "nul": "key%00.csv",
    "absolute": "%2fetc%2fpasswd",
    "wide": quote("．．／key"),
    "direction": quote("\u202eyek"),
    "no-letters": "%ff%fe",
    "long": "a" * 2000,
    "markup": quote("<script>alert(1)</script>"),
    "template": quote("{{7*7}}${7*7}"),
}


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_no_address_leads_out_of_the_workspace(
    console: RunningConsole, owner: Reader, name: str
) -> None:
    secret = (console.home / "key").read_text().strip()
    before = sorted(path.name for path in console.home.iterdir())
    for kind, part in PARTS.items():
        # Not by httpx, which would tidy the address up.
        path = re.sub(r"\{[^}]+\}", part, ROUTES[name].path)
        status, text = ask(console, owner, ROUTES[name].method, path)
        assert 400 <= status < 500, (kind, status)
        assert secret not in text, kind
        assert "root:" not in text, kind
        assert "<script>alert" not in text, kind
        assert "$49" not in text, kind
    assert sorted(path.name for path in console.home.iterdir()) == before


def ask(console: RunningConsole, reader: Reader, method: str, path: str) -> tuple[int, str]:
    address = urlsplit(console.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    headers = {
        "Accept": "text/html",
        "Cookie": "; ".join(f"{name}={value}" for name, value in reader.cookies.items()),
        "Origin": console.url,
        "X-CSRF-Token": str(reader.headers["X-CSRF-Token"]),
    }
    connection.request(method, path, b"" if method == "GET" else b"{}", headers)
    response = connection.getresponse()
    try:
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()
