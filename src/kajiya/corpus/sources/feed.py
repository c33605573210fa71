"""News feeds (RSS and Atom): each entry's own text, or the article that it links to."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from typing import Any, Literal

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.sources.apart import Apart
from kajiya.corpus.sources.extract import Extract
from kajiya.corpus.sources.fetch import Fetcher
from kajiya.corpus.sources.kept import Answer
from kajiya.corpus.sources.licences import licence_of_url
from kajiya.corpus.sources.network import NetworkSource
from kajiya.corpus.sources.pages import read_page
from kajiya.corpus.sources.source import Problems, stop

_BLOCKS = frozenset(
    ("p", "br", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "tr", "blockquote")
)


class FeedSource(NetworkSource):
    """Feeds, each named by its address."""

    kind: Literal["feed"] = option("feed", en="Kind of source", ja="情報源の種類")
    urls: list[str] = option(en="Addresses of feeds", ja="フィードのアドレス", min_length=1)
    articles: bool = option(
        False,
        en="Whole articles",
        ja="記事の本文",
        help=(
            "fetch the page that an entry links to, instead of reading the entry's own text",
            "項目自身の文章ではなく、リンク先のページを取得して読む",
        ),
    )
    domain: str = option("news", en="Kind of text", ja="文書の種別")


def read_feeds(
    settings: FeedSource, problems: Problems = stop, fetcher: Fetcher | None = None
) -> Iterator[Document]:
    """A document an entry, in the order of the feeds, its id the entry's own or its link; each id once.

    `problems` is told of feeds and articles that are refused, fail or cannot be read. Raises
    `ConfigError` for one that would have to be fetched while the network is off.
    """
    seen: set[str] = set()
    with ExitStack() as open_things:
        fetcher = open_things.enter_context(fetcher or Fetcher(settings))
        html = open_things.enter_context(Apart("html"))
        feed = open_things.enter_context(Apart("feed"))
        for url in settings.urls:
            try:
                answer = fetcher.get(url)
                entries = feed.all(answer.body, answer.url, where=url)
            except DataError as error:
                problems(error)
                continue
            for entry in entries:
                if not entry.id or entry.id in seen:
                    continue
                seen.add(entry.id)
                try:
                    yield _document(settings, entry, answer, fetcher, html)
                except DataError as error:
                    problems(error)


def extract_feed(raw: bytes, url: str) -> list[Extract]:
    """The entries of a feed at `url`, in its order. Raises `DataError` for what is none.

    Meant to be called through `apart`.
    """
    import feedparser

    # As a stream: of bytes it would first try whether they are the name of a file.
    found = feedparser.parse(io.BytesIO(raw), response_headers={"content-location": url})
    if not found.version:
        raise DataError(
            tr("not a feed", "フィードではありません"),
            fix=tr(
                "give the address of an RSS or Atom feed",
                "RSS か Atom のアドレスを指定してください",
            ),
        )
    return [_entry(entry, found.feed) for entry in found.entries]


def _entry(entry: Any, feed: Any) -> Extract:
    contents = [each.get("value", "") for each in entry.get("content", [])]
    terms = entry.get("license") or feed.get("license") or feed.get("rights") or ""
    return Extract(
        _plain(max([*contents, entry.get("summary", "")], key=len)),
        title=_plain(entry.get("title", "")),
        author=entry.get("author", ""),
        language=(feed.get("language") or "").partition("-")[0].lower(),
        licence=licence_of_url(terms),
        id=entry.get("id") or entry.get("link") or "",
        url=entry.get("link", ""),
    )


def _document(
    settings: FeedSource, entry: Extract, answer: Answer, fetcher: Fetcher, html: Apart
) -> Document:
    text, licence = entry.text, entry.licence
    if settings.articles:
        answer = fetcher.get(entry.url)
        page = read_page(answer, html)
        text, licence = page.text, page.licence or licence
    return settings.document(
        entry.id,
        text,
        title=entry.title,
        author=entry.author,
        url=entry.url,
        licence=licence,
        collected_at=answer.fetched_at,
        language=entry.language,
    )


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self.pieces.append("\n")


def _plain(fragment: str) -> str:
    """The text of a piece of HTML, from which feedparser has taken what is active."""
    parser = _Text()
    parser.feed(fragment)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).split("\n"))
    return re.sub(r"\n+", "\n", "\n".join(lines)).strip()
