"""Web pages by their addresses: the main text of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.sources.apart import Apart
from kajiya.corpus.sources.extract import Extract
from kajiya.corpus.sources.fetch import Fetcher
from kajiya.corpus.sources.html import decode_html
from kajiya.corpus.sources.kept import Answer
from kajiya.corpus.sources.network import NetworkSource
from kajiya.corpus.sources.source import Problems, stop


class PagesSource(NetworkSource):
    """Pages of the web, each named by its address."""

    kind: Literal["pages"] = option("pages", en="Kind of source", ja="情報源の種類")
    urls: list[str] = option(en="Addresses", ja="アドレス", min_length=1)


def read_pages(
    settings: PagesSource, problems: Problems = stop, fetcher: Fetcher | None = None
) -> Iterator[Document]:
    """A document a page, in the order of the settings, its id the address.

    `problems` is told of pages that are refused, fail or are no text. Raises `ConfigError` for a page
    that would have to be fetched while the network is off.
    """
    with ExitStack() as open_things:
        fetcher = open_things.enter_context(fetcher or Fetcher(settings))
        html = open_things.enter_context(Apart("html"))
        for url in dict.fromkeys(settings.urls):
            try:
                answer = fetcher.get(url)
                found = read_page(answer, html)
            except DataError as error:
                problems(error)
                continue
            yield settings.document(
                url,
                found.text,
                title=found.title,
                url=answer.url,
                licence=found.licence,
                collected_at=answer.fetched_at,
                language=found.language,
            )


def read_page(answer: Answer, html: Apart) -> Extract:
    """The main text of a fetched page. Raises `DataError` for one that is neither HTML nor plain text."""
    kind = answer.content_type.partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        return html(answer.body, answer.content_type, where=answer.url)
    if kind == "text/plain":
        return Extract(decode_html(answer.body, answer.content_type))
    raise DataError(
        tr(
            f"of the type {kind or '?'}, not a page",
            f"種類が {kind or '?'} で、ページではありません",
        ),
        where=answer.url,
        fix=tr("leave this address out", "このアドレスを外してください"),
    )
