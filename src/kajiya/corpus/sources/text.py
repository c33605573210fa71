"""Running text for pretraining: `.txt` and `.md` files, `.jsonl` with a `text` field, folders of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kajiya.corpus.document import Document
from kajiya.corpus.sources.files import SUFFIXES, FilesSource
from kajiya.corpus.sources.opened import find_files
from kajiya.corpus.sources.registry import open_source
from kajiya.corpus.sources.source import stop
from kajiya.corpus.sources.table import TableSource

_LINES = ".jsonl"


def find_text_files(paths: Sequence[Path]) -> list[Path]:
    """The files to read, in order: those named, and all of the known kinds in the folders named.

    Raises `NotFoundError` for a path that is not there and for a folder without text.
    """
    suffixes = (*SUFFIXES["text"], _LINES)
    return [file for path in paths for _, file in find_files(path, suffixes, stop)]


def read_text(paths: Sequence[Path]) -> Iterator[Document]:
    """The documents of all files, a document a file or a line of `.jsonl`; empty ones are passed over.

    Encodings are found as for tables (UTF-8, UTF-16, CP932, EUC-JP). Raises `DataError` naming file
    and line where a text cannot be read.
    """
    for path in find_text_files(paths):
        lines = path.suffix == _LINES
        settings = TableSource(path=str(path)) if lines else FilesSource(path=str(path))
        for document in open_source(settings):
            # Files of the same name in two folders are not the same text.
            place = str(path.parent / document.id)
            yield replace(document, id=place, group=str(path.parent / document.group))
