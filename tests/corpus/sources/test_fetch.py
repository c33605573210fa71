"""What is fetched, what is refused, and what is kept; against a real HTTP server on this machine."""

from __future__ import annotations

import contextlib
import json
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.sources.addresses import is_public
from kajiya.corpus.sources.fetch import Fetcher
from kajiya.corpus.sources.network import NetworkSource, allowed_target
from support.web import Web


def settings(served: Web, folder: Path, **changes: object) -> NetworkSource:
    given = {"hosts": [served.host()], "folder": str(folder), "network": True, "kind": "pages"}
    return NetworkSource.checked(given | changes)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::"),
        *("2002:c0a8:101::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
)  # fmt: skip
def test_addresses_that_nothing_is_fetched_from(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_a_private_address_stays_private_in_every_disguise(address: object) -> None:
    number = int(address)  # type: ignore[call-overload]
    for disguise in (0xFFFF << 32, 0x64FF9B << 96, (0x2002 << 112)):
        shift = 80 if disguise == 0x2002 << 112 else 0
        assert not is_public(ip_address((disguise | number << shift).to_bytes(16, "big")))


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://news.example/", "file:///etc/passwd", "//news.example/x", "news.example", "", "http://"),
        *("http://other.example/", "http://news.example.evil.example/", "http://news.example:81/"),
        *("http://user:pass@news.example/", "http://news.example@evil.example/", "http://[::1]/"),
        *("http://2130706433/", "http://0x7f.1/", "http://news.example:99999/", "http://news.example\\@x/"),
        "http://news.example/" + "a" * 9000,
    ],
)  # fmt: skip
def test_addresses_of_other_hosts_and_kinds_are_refused(url: str) -> None:
    with pytest.raises(DataError):
        allowed_target(url, ["news.example"])


def test_hosts_are_compared_without_case_and_in_their_ascii_form() -> None:
    parts, port = allowed_target("https://NEWS.Example/a?b=c", ["news.example"])
    assert (parts.geturl(), port) == ("https://news.example/a?b=c", 443)
    assert allowed_target("http://日本.example/", ["xn--wgv71a.example"])[0].netloc.startswith(
        "xn--"
    )


@hypothesis.settings(deadline=None)
@given(st.text(max_size=60))
def test_any_address_is_allowed_or_refused(url: str) -> None:
    with contextlib.suppress(DataError):
        parts, _ = allowed_target(url, ["a.example"])
        assert parts.hostname == "a.example"


def test_an_answer_is_fetched_once_and_kept(served: Web, tmp_path: Path) -> None:
    url = served.page("/a", "一")
    with served.fetcher(settings(served, tmp_path)) as fetcher:
        first = fetcher.get(url)
        assert fetcher.get(url + "#part") == first
    with served.fetcher(settings(served, tmp_path, network=False)) as fetcher:
        assert fetcher.get(url) == first
    assert first.body.decode() == "一"
    assert served.paths() == ["/robots.txt", "/a"]
    assert all(agent.startswith("Kajiya/") for _, _, agent in served.asked)
    assert {host for host, _, _ in served.asked} == {served.host()}


def test_the_network_is_off_unless_asked_for(served: Web, tmp_path: Path) -> None:
    with (
        served.fetcher(settings(served, tmp_path, network=False)) as fetcher,
        pytest.raises(ConfigError, match="network"),
    ):
        fetcher.get(served.page("/a", "一"))
    assert not served.asked


def test_an_answer_that_is_gone_is_not_asked_for_again(served: Web, tmp_path: Path) -> None:
    with served.fetcher(settings(served, tmp_path)) as fetcher:
        for _ in range(2):
            with pytest.raises(DataError, match="404"):
                fetcher.get(served.url("/gone"))
    assert served.paths() == ["/robots.txt", "/gone"]


def test_a_damaged_kept_answer_is_named(served: Web, tmp_path: Path) -> None:
    url = served.page("/a", "一")
    with served.fetcher(settings(served, tmp_path)) as fetcher:
        fetcher.get(url)
        for body in tmp_path.rglob("*.body"):
            body.write_bytes(b"other")
        with pytest.raises(DataError, match="damaged"):
            fetcher.get(url)


def test_the_real_checks_refuse_this_machine(served: Web, tmp_path: Path) -> None:
    given = settings(
        served, tmp_path, hosts=[f"localhost:{served.port}", f"127.0.0.1:{served.port}"]
    )
    with Fetcher(given, sleep=lambda seconds: None) as fetcher:
        for host in ("localhost", "127.0.0.1"):
            with pytest.raises(DataError, match="public internet"):
                fetcher.get(served.url("/a", host))
    assert not served.asked


def test_a_host_with_one_private_address_among_others_is_refused(
    served: Web, tmp_path: Path
) -> None:
    found = [ip_address("127.0.0.1"), ip_address("10.0.0.1")]
    with (
        served.fetcher(settings(served, tmp_path), resolve=lambda host, port: found) as fetcher,
        pytest.raises(DataError, match="public internet"),
    ):
        fetcher.get(served.page("/a", "一"))
    assert not served.asked


def test_a_name_is_resolved_once_for_a_request(served: Web, tmp_path: Path) -> None:
    """A second look could find another address than the one that was checked."""
    looked: list[str] = []

    def resolve(host: str, port: int) -> list[object]:
        looked.append(host)
        return [ip_address("127.0.0.1")]

    with served.fetcher(settings(served, tmp_path), resolve=resolve) as fetcher:
        fetcher.get(served.page("/a", "一"))
    assert len(looked) == len(served.asked) == 2


def test_redirects_are_followed_among_allowed_hosts_only(served: Web, tmp_path: Path) -> None:
    other = served.host("other.example")
    served.page("/new", "着いた")
    inside = served.redirect("/old", "/new")
    outside = served.redirect("/out", served.url("/new", "evil.example"))
    across = served.redirect("/across", served.url("/new", "other.example"))
    secret = served.redirect("/secret", "file:///etc/passwd")
    around = served.redirect("/loop", "/loop")
    broken = served.redirect("/broken", "http://[")
    with served.fetcher(settings(served, tmp_path, hosts=[served.host(), other])) as fetcher:
        assert fetcher.get(inside).url == served.url("/new")
        assert fetcher.get(across).url == served.url("/new", "other.example")
        with pytest.raises(DataError, match=r"evil\.example"):
            fetcher.get(outside)
        with pytest.raises(DataError, match="not an address"):
            fetcher.get(secret)
        with pytest.raises(DataError, match="redirects"):
            fetcher.get(around)
        for url in (broken, "http://[::1", "http://news.example/\ud800", "\0"):
            with pytest.raises(DataError):
                fetcher.get(url)
    assert not any("evil" in host for host, _, _ in served.asked)


def test_a_redirect_to_a_private_address_is_refused(served: Web, tmp_path: Path) -> None:
    hosts = [served.host(), served.host("inner.example")]
    url = served.redirect("/in", served.url("/x", "inner.example"))

    def resolve(host: str, port: int) -> list[object]:
        return [ip_address("10.0.0.1" if host == "inner.example" else "127.0.0.1")]

    with (
        served.fetcher(settings(served, tmp_path, hosts=hosts), resolve=resolve) as fetcher,
        pytest.raises(DataError, match="public internet"),
    ):
        fetcher.get(url)


def test_robots_rules(served: Web, tmp_path: Path) -> None:
    rules = "User-agent: *\nDisallow: /\n\nUser-agent: Kajiya\nDisallow: /private\nAllow: /private/open\nCrawl-delay: 7\n"
    served.page("/robots.txt", rules, "text/plain")
    allowed = [served.page("/a", "一"), served.page("/private/open", "二")]
    refused = served.page("/private/x", "三")
    via = served.redirect("/via", "/private/x")
    with served.fetcher(settings(served, tmp_path)) as fetcher:
        for url in allowed:
            fetcher.get(url)
        for url in (refused, via):
            with pytest.raises(DataError, match=r"robots\.txt"):
                fetcher.get(url)
    assert served.paths() == ["/robots.txt", "/a", "/private/open", "/via"]
    assert served.slept[2:] == [7.0, 7.0]


def test_nothing_is_fetched_where_robots_rules_cannot_be_had(served: Web, tmp_path: Path) -> None:
    served.pages["/robots.txt"] = (500, {}, b"")
    with (
        served.fetcher(settings(served, tmp_path)) as fetcher,
        pytest.raises(DataError, match=r"robots\.txt"),
    ):
        fetcher.get(served.page("/a", "一"))
    assert set(served.paths()) == {"/robots.txt"}


def test_a_pause_between_requests(served: Web, tmp_path: Path) -> None:
    with served.fetcher(settings(served, tmp_path, pause=2)) as fetcher:
        for number in range(3):
            fetcher.get(served.page(f"/{number}", "一"))
    assert served.slept == [0.0, 2.0, 2.0, 2.0]


def test_a_busy_server_is_asked_again_when_it_says(served: Web, tmp_path: Path) -> None:
    def busy(request: BaseHTTPRequestHandler) -> None:
        served.page("/a", "一")
        request.send_response(503)
        request.send_header("Retry-After", "30")
        request.send_header("Content-Length", "0")
        request.end_headers()

    served.pages["/a"] = busy
    with served.fetcher(settings(served, tmp_path)) as fetcher:
        assert fetcher.get(served.url("/a")).status == 200
    assert 30.0 in served.slept


def test_a_server_that_fails_is_not_remembered(served: Web, tmp_path: Path) -> None:
    served.pages["/a"] = (500, {}, b"")
    with served.fetcher(settings(served, tmp_path)) as fetcher:
        with pytest.raises(DataError, match="500"):
            fetcher.get(served.url("/a"))
        assert fetcher.get(served.page("/a", "一")).status == 200


def test_a_server_that_is_not_there(served: Web, tmp_path: Path) -> None:
    given = settings(served, tmp_path, hosts=["news.example:1"])
    with (
        served.fetcher(given) as fetcher,
        pytest.raises(DataError, match="could not be fetched"),
    ):
        fetcher.get("http://news.example:1/a")


def test_a_large_and_a_packed_answer_are_refused(served: Web, tmp_path: Path) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            while True:
                request.wfile.write(b"x" * 65536)

    served.pages["/endless"] = endless
    served.pages["/packed"] = (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b")
    with served.fetcher(settings(served, tmp_path, largest_mb=1)) as fetcher:
        with pytest.raises(DataError, match="1 MB"):
            fetcher.get(served.url("/endless"))
        with pytest.raises(DataError, match="packed"):
            fetcher.get(served.url("/packed"))
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_never_ends_is_ended(served: Web, tmp_path: Path, part: str) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        if part == "body":
            request.send_response(200)
            request.end_headers()
        else:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        request.connection.recv(1)  # until the other side has gone

    served.pages["/slow"] = drip
    with (
        served.fetcher(settings(served, tmp_path, seconds=1)) as fetcher,
        pytest.raises(DataError, match="within 1 seconds"),
    ):
        fetcher.get(served.url("/slow"))


def test_what_is_kept_can_be_read_by_people(served: Web, tmp_path: Path) -> None:
    url = served.page("/a", "一", "text/plain")
    with served.fetcher(settings(served, tmp_path)) as fetcher:
        fetcher.get(url)
    [described] = [json.loads(path.read_text("utf-8")) for path in tmp_path.rglob("*.json")]
    assert described["asked"] == url
    assert described["content_type"] == "text/plain"
