"""Settings of every source that fetches, and what they allow: which hosts, how often, how much."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import StringConstraints

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.sources.source import Source

Host = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?$")]
_LONGEST = 8000  # characters of an address
_PORTS = {"http": 80, "https": 443}


class NetworkSource(Source):
    """Settings of a source that fetches."""

    network: bool = option(
        False,
        en="Use the network",
        ja="ネットワークを使う",
        help=(
            "without it only what the folder holds from before is read",
            "指定しない場合は、以前に取得してフォルダにあるものだけを読む",
        ),
    )
    hosts: list[Host] = option(
        en="Allowed hosts",
        ja="許可するホスト",
        help=(
            "nothing is fetched from others, redirects included; HOST or HOST:PORT",
            "転送先も含め、ほかのホストからは取得しない。ホスト名、またはホスト名:ポート",
        ),
        min_length=1,
    )
    folder: str = option(
        en="Folder of answers",
        ja="応答の保存先",
        help=(
            "every answer is kept there and never fetched again; a new collection needs a new folder",
            "応答はすべてここに保存し、二度と取得しない。集め直すときは新しいフォルダにする",
        ),
        min_length=1,
    )
    pause: float = option(
        1.0,
        en="Pause (seconds)",
        ja="間隔 (秒)",
        help=(
            "between two requests; longer where robots.txt asks for it",
            "リクエストの間隔。robots.txt が求める場合は長くなる",
        ),
        ge=0.5,
        le=600,
    )
    largest_mb: int = option(20, en="Largest answer (MB)", ja="応答の最大サイズ (MB)", ge=1, le=500)
    seconds: int = option(
        60, en="Longest answer (seconds)", ja="応答の最長時間 (秒)", ge=1, le=3600
    )


def allowed_target(url: str, hosts: list[str]) -> tuple[SplitResult, int]:
    """The parts of a URL and its port. Raises `DataError` unless it leads to one of `hosts`."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        usual = _PORTS.get(parts.scheme, 0)
        port = parts.port or usual
    except ValueError:  # also of IDNA and of a port that is no number
        host, usual, port = "", 0, 0
    if not host or not usual or parts.username is not None or not _plain(url):
        raise _refused(tr("not an address of the web", "ウェブのアドレスではありません"), url, "")
    if f"{host}:{port}" not in hosts and (host not in hosts or port != usual):
        name = host if port == usual else f"{host}:{port}"
        raise _refused(
            tr(f"{name} is not an allowed host", f"{name} は許可されていないホストです"),
            url,
            tr(f"add it to `hosts`: {name}", f"`hosts` に加えてください: {name}"),
        )
    return parts._replace(netloc=host if port == usual else f"{host}:{port}"), port


def _plain(url: str) -> bool:
    return len(url) <= _LONGEST and url.isprintable()


def _refused(message: str, url: str, fix: str) -> DataError:
    return DataError(message, where=url[:200], fix=fix)
