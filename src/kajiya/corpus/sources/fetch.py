"""Fetches from the few hosts that a recipe allows: politely, within limits, and each address once.

- Only when the settings say `network: true`; else only what was kept before is there.
- Only from the hosts named, by http or https.
- Only from public addresses. A name is resolved once; what was looked at is what is connected to, so that
  it cannot lead elsewhere in between. Every redirect is looked at in the same way.
- Only what robots.txt allows to `Kajiya` (RFC 9309), one request at a time, with a pause in between.
- No cookies, no passwords, no proxies of the environment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urljoin

import httpx
from protego import Protego

from kajiya import __version__
from kajiya.core.errors import ConfigError, DataError
from kajiya.core.language import tr
from kajiya.corpus.sources.addresses import Address, Resolve, is_public, resolve
from kajiya.corpus.sources.deadline import Deadline
from kajiya.corpus.sources.kept import Answer, Kept
from kajiya.corpus.sources.network import NetworkSource, allowed_target
from kajiya.corpus.sources.opened import too_large

USER_AGENT = f"Kajiya/{__version__} (text collection for language models)"
_ROBOT = "Kajiya"
_REDIRECTS = 5
_TRIES = 3
_LONGEST_WAIT = 120.0  # seconds that a server may ask us to wait
_ROBOTS_SIZE = 500 << 10  # bytes of robots.txt that count
_TIMEOUT = httpx.Timeout(30, connect=10)
_BUSY = (429, 503)
_LASTING = (200, 404, 410)  # what a server would say again


class Fetcher:
    """Gets answers, from the folder or from the network.

    `resolve`, `allowed`, `sleep` and `clock` are the system's; tests put their own in their place.
    """

    def __init__(
        self,
        settings: NetworkSource,
        *,
        resolve: Resolve = resolve,
        allowed: Callable[[Address], bool] = is_public,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._resolve = resolve
        self._allowed = allowed
        self._sleep = sleep
        self._clock = clock
        self._kept = Kept(Path(settings.folder))
        self._robots: dict[str, Protego] = {}
        self._next: dict[str, float] = {}  # when a host may be asked again
        # Of the environment, a proxy would connect in our place and a .netrc would send passwords.
        self._client = httpx.Client(
            trust_env=False,
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )

    def get(self, url: str) -> Answer:
        """The answer to `url`, with status 200.

        Raises `DataError` for what is refused, fails or is not there, and `ConfigError` if it is not
        kept and the network is off.
        """
        url = url.strip().partition("#")[0]
        allowed_target(url, self._settings.hosts)
        answer = self._kept.get(url)
        if answer is None:
            if not self._settings.network:
                raise ConfigError(
                    tr(
                        "this was not fetched before, and the network is off",
                        "まだ取得しておらず、ネットワークの使用も許可されていません",
                    ),
                    where=url,
                    fix=tr("set `network: true`", "`network: true` を指定してください"),
                )
            answer = self._fetch(url)
            if answer.status in _LASTING:
                self._kept.put(url, answer)
        if answer.status != 200:
            raise _failed(tr(f"status {answer.status}", f"状態 {answer.status}"), url)
        return answer

    def _fetch(self, url: str) -> Answer:
        asked = url
        for _ in range(_REDIRECTS + 1):
            target, port = allowed_target(url, self._settings.hosts)
            robots = self._robots_of(target, port)
            if not robots.can_fetch(url, _ROBOT):
                raise DataError(
                    tr("robots.txt does not allow it", "robots.txt で許可されていません"),
                    where=url,
                    fix=tr("leave this address out", "このアドレスを外してください"),
                )
            pause = max(self._settings.pause, float(robots.crawl_delay(_ROBOT) or 0))
            response, body = self._patiently(target, port, min(pause, _LONGEST_WAIT))
            if not response.has_redirect_location:
                today = datetime.now(UTC).date().isoformat()
                kind = response.headers.get("content-type", "")
                return Answer(url, response.status_code, kind, today, body)
            url = _redirected(url, response)
        raise _failed(tr("too many redirects", "転送が多すぎます"), asked)

    def _robots_of(self, target: SplitResult, port: int) -> Protego:
        origin = f"{target.scheme}://{target.netloc}"
        if origin not in self._robots:
            url = f"{origin}/robots.txt"
            for _ in range(_REDIRECTS + 1):
                place, port = allowed_target(url, self._settings.hosts)
                response, body = self._patiently(place, port, self._settings.pause)
                if not response.has_redirect_location:
                    break
                url = _redirected(url, response)
            if response.status_code >= 500 or response.status_code == 429:
                raise _failed(
                    tr(
                        "robots.txt cannot be had, so nothing is fetched from there",
                        "robots.txt を取得できないため、このホストからは取得しません",
                    ),
                    url,
                )
            rules = body[:_ROBOTS_SIZE] if response.status_code == 200 else b""
            self._robots[origin] = Protego.parse(rules.decode("utf-8", errors="replace"))
        return self._robots[origin]

    def _patiently(
        self, target: SplitResult, port: int, pause: float
    ) -> tuple[httpx.Response, bytes]:
        """A request when the host may be asked again; tried again where it is busy or cannot be reached."""
        host = target.netloc
        for left in reversed(range(_TRIES)):
            self._sleep(max(0.0, self._next.get(host, 0.0) - self._clock()))
            wait = pause
            try:
                response, body = self._send(target, port)
                if response.status_code not in _BUSY or not left:
                    return response, body
                after = response.headers.get("retry-after", "")
                wait = max(pause, float(after) if after.isdigit() else 10.0)
                if wait > _LONGEST_WAIT:
                    return response, body
            except httpx.TransportError as error:
                if not left:
                    raise _failed(str(error) or type(error).__name__, target.geturl()) from None
            finally:
                self._next[host] = self._clock() + wait
        raise AssertionError

    def _send(self, target: SplitResult, port: int) -> tuple[httpx.Response, bytes]:
        """One request to one of the host's addresses, all of which have to be allowed."""
        host, url = target.hostname or "", target.geturl()
        try:
            addresses = self._resolve(host, port)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from None
        if not addresses or not all(map(self._allowed, addresses)):
            raise DataError(
                tr(
                    f"{host} leads to an address that is not of the public internet",
                    f"{host} は公開されたインターネットのアドレスではありません",
                ),
                where=url,
                fix=tr("read local files as files", "手元のファイルは files で読んでください"),
            )
        for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                return self._send_to(address, target, port)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if not left:
                    raise
        raise AssertionError

    def _send_to(
        self, address: Address, target: SplitResult, port: int
    ) -> tuple[httpx.Response, bytes]:
        literal = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        url = target.geturl()
        largest = self._settings.largest_mb * 1_000_000
        body = bytearray()
        with Deadline(self._settings.seconds, url) as deadline:
            request = self._client.build_request(
                "GET",
                target._replace(netloc=f"{literal}:{port}", fragment="").geturl(),
                headers={"Host": target.netloc},
                # The certificate has to be the name's, although the address is connected to.
                extensions={"sni_hostname": target.hostname, "trace": deadline.watch},
            )
            response = self._client.send(request, stream=True)
            try:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise _failed(tr("packed without being asked", "圧縮された応答です"), url)
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > largest:
                        raise too_large(url, largest)
            finally:
                response.close()
        return response, bytes(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()


def _redirected(url: str, response: httpx.Response) -> str:
    try:
        return urljoin(url, response.headers["location"]).partition("#")[0]
    except ValueError as error:
        raise _failed(str(error), url) from None


def _failed(reason: str, url: str) -> DataError:
    return DataError(
        tr(f"could not be fetched: {reason}", f"取得できませんでした: {reason}"),
        where=url[:200],
        fix=tr("run it again later, or leave it out", "後で再実行するか、外してください"),
    )
