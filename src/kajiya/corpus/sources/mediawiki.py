"""Dumps of a wiki (`pages-articles.xml`, packed or not): the text of its articles, as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.opened import find_files, opened, too_large
from kajiya.corpus.sources.source import PathSource, Problems, stop
from kajiya.corpus.sources.wikitext import plain_wikitext
from kajiya.corpus.sources.xml_events import Event, xml_events

SUFFIXES = (".xml.bz2", ".xml", ".xml.gz", ".xml.xz", ".xml.zst")
_LARGEST = 16_000_000  # characters of a page; MediaWiki itself allows 2 million bytes
_FIELDS = frozenset(("title", "ns", "id", "text", "base"))


class MediaWikiSource(PathSource):
    """A dump in XML, or all in a folder."""

    kind: Literal["mediawiki"] = option("mediawiki", en="Kind of source", ja="情報源の種類")
    domain: str = option("encyclopedia", en="Kind of text", ja="文書の種別")


@dataclass
class _Page:
    fields: dict[str, str] = field(default_factory=dict)
    redirect: bool = False
    too_long: bool = False


def read_mediawiki(settings: MediaWikiSource, problems: Problems = stop) -> Iterator[Document]:
    """A document an article, its id the page's number; redirects and pages of other kinds are passed over.

    Language and address are as the dump says, and the licence of Wikipedia's is CC-BY-SA-4.0.
    `problems` is told of pages that are too long. A damaged dump is told as well and ends there; the
    next one is read. Raises `NotFoundError` if there is none.
    """
    for _, path in find_files(Path(settings.path), SUFFIXES, problems):
        try:
            with opened(path) as file:
                yield from _read(settings, xml_events(file, str(path)), str(path), problems)
        except DataError as error:
            problems(error)


def _read(
    settings: MediaWikiSource, events: Iterator[Event], where: str, problems: Problems
) -> Iterator[Document]:
    language = base = ""
    for event, name, given in events:
        if event == "start" and name == "mediawiki":
            language = given.get("xml:lang", "").partition("-")[0]
        elif event == "start" and name == "siteinfo":
            base = _page(events, "siteinfo").fields.get("base", "")
        elif event == "start" and name == "page":
            page = _page(events, "page")
            title = page.fields.get("title", "")
            if page.too_long:
                problems(too_large(f"{where}: {title}", _LARGEST))
            elif page.fields.get("ns", "0") == "0" and not page.redirect:
                yield settings.document(
                    page.fields.get("id", title),
                    plain_wikitext(page.fields.get("text", "")),
                    title=title,
                    url=_address(base, title),
                    language=settings.language or language,
                    licence=settings.licence or _licence(base),
                )


def _page(events: Iterator[Event], end: str) -> _Page:
    """The fields of a page up to its end; of those that come again (in its revision), the first."""
    page = _Page()
    pieces: list[str] = []
    size = 0
    current = ""
    for event, name, _ in events:
        if event == "text":
            size += len(name)
            if current and size <= _LARGEST:
                pieces.append(name)
        elif event == "start":
            pieces, size = [], 0
            current = name if name in _FIELDS and name not in page.fields else ""
            page.redirect = page.redirect or name == "redirect"
        elif name == end:
            break
        elif name == current:
            page.fields[name] = "".join(pieces)
            page.too_long = page.too_long or size > _LARGEST
            current = ""
    return page


def _address(base: str, title: str) -> str:
    """The page's own: the dump names that of the main page."""
    if not base.startswith(("http://", "https://")):
        return ""
    return f"{base.rpartition('/')[0]}/{quote(title.replace(' ', '_'), safe='/:')}"


def _licence(base: str) -> str:
    host = urlsplit(base).hostname or ""
    return "CC-BY-SA-4.0" if host.endswith(".wikipedia.org") else ""
