"""One document of a corpus, and a batch of documents as a table with a row for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import polars as pl

from kajiya.core.errors import DataError
from kajiya.core.language import tr


@dataclass(frozen=True)
class Document:
    """A text, where it came from and what may be done with it. What is not known is empty.

    `id` is unique in its source. Documents with the same `group` tell the same thing (two editions of
    one work) and are never split between training and held-out text. `source` names where it was
    taken from (`aozora`, a folder, a host); `licence` is an SPDX identifier where there is one;
    `collected_at` an ISO 8601 date; `language` an ISO 639-1 code; `domain` the kind of text
    (`literature`, `encyclopedia`, `news`, `code`, `instruction`, …).
    """

    id: str
    text: str
    group: str
    title: str = ""
    author: str = ""
    url: str = ""
    source: str = ""
    licence: str = ""
    collected_at: str = ""
    language: str = ""
    domain: str = ""


SCHEMA = pl.Schema(dict.fromkeys(Document.__dataclass_fields__, pl.String))


def to_frame(documents: Iterable[Document]) -> pl.DataFrame:
    """A row for each document, in their order, with the columns of `SCHEMA`."""
    return pl.DataFrame([astuple(document) for document in documents], SCHEMA, orient="row")


def id_twice(source: str, name: str) -> DataError:
    """Two documents of a source have one id, so that neither could be found again by it."""
    return DataError(
        tr(
            f"two documents of the source {source!r} have the id {name!r}",
            f"入手元 {source!r} に同じ id {name!r} の文書が 2 件あります",
        ),
        where="id",
        fix=tr(
            "read each file once, or name a column whose values differ as the id",
            "同じファイルを 2 度読み込まないようにするか、値が重複しない列を id に指定してください",
        ),
    )
