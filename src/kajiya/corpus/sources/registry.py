"""All sources by their kind: settings, and the function that reads what they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from typing import Annotated, Any

from pydantic import Field

from kajiya.core.errors import ConfigError, DataError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.sources.aozora import AozoraSource, read_aozora
from kajiya.corpus.sources.code import CodeSource, read_code
from kajiya.corpus.sources.diet import DietSource, read_diet
from kajiya.corpus.sources.feed import FeedSource, read_feeds
from kajiya.corpus.sources.files import FilesSource, read_files
from kajiya.corpus.sources.instructions import InstructionsSource, read_instructions
from kajiya.corpus.sources.mediawiki import MediaWikiSource, read_mediawiki
from kajiya.corpus.sources.pages import PagesSource, read_pages
from kajiya.corpus.sources.source import Problems, Source, stop
from kajiya.corpus.sources.table import TableSource, read_table
from kajiya.corpus.sources.warc import WarcSource, read_warc

Reader = Callable[[Any, Problems], Iterator[Document]]

SOURCES: dict[str, tuple[type[Source], Reader]] = {
    "files": (FilesSource, read_files),
    "table": (TableSource, read_table),
    "instructions": (InstructionsSource, read_instructions),
    "code": (CodeSource, read_code),
    "aozora": (AozoraSource, read_aozora),
    "mediawiki": (MediaWikiSource, read_mediawiki),
    "warc": (WarcSource, read_warc),
    "pages": (PagesSource, read_pages),
    "feed": (FeedSource, read_feeds),
    "diet": (DietSource, read_diet),
}

SourceSettings = Annotated[
    FilesSource
    | TableSource
    | InstructionsSource
    | CodeSource
    | AozoraSource
    | MediaWikiSource
    | WarcSource
    | PagesSource
    | FeedSource
    | DietSource,
    Field(discriminator="kind"),
]
"""Any of them, as a field of another configuration: `{kind: aozora, path: …}`."""


def source_settings(values: Mapping[str, Any], where: str = "") -> Source:
    """The settings that plain values say. `where` names the file they are from.

    Raises `ConfigError` for an unknown kind, an unknown key and a value out of range, naming the field.
    """
    kind = values.get("kind")
    if kind not in SOURCES:
        known = ", ".join(SOURCES)
        raise ConfigError(
            tr(f"there is no kind of source {kind!r}", f"{kind!r} という情報源はありません"),
            where=": ".join(part for part in (where, "kind") if part),
            fix=tr(f"kinds: {known}", f"使える種類: {known}"),
        )
    return SOURCES[kind][0].checked(dict(values), where)


def open_source(settings: Source, problems: Problems = stop) -> Iterator[Document]:
    """The documents of a source, one after another, always in the same order; none of them is empty.

    `problems` is told of every item that is left out; by default the first one is raised. What stops
    the whole source (it is not there, a damaged archive) is raised as `KajiyaError`.
    """
    _, read = SOURCES[settings.kind]
    for document in read(settings, problems):
        if not document.text.strip():
            continue
        try:
            "".join(astuple(document)).encode("utf-8")
        except UnicodeEncodeError:
            problems(
                DataError(
                    tr(
                        "half a character (a lone surrogate)",
                        "不完全な文字 (サロゲートの片割れ) があります",
                    ),
                    where=repr(document.id)[1:-1],
                    fix=tr("mend the text", "元の文字に直してください"),
                )
            )
            continue
        yield document
