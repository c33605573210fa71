"""Documents as files: plain text, Markdown, web pages, PDF and Word, one or a folder of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Literal

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.apart import Apart
from kajiya.corpus.sources.docx import extract_docx
from kajiya.corpus.sources.extract import Extract
from kajiya.corpus.sources.opened import find_files, read_file
from kajiya.corpus.sources.plain import markdown_title, read_parts
from kajiya.corpus.sources.source import PathSource, Problems, stop

Format = Literal["text", "html", "pdf", "docx"]
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "text": (".txt", ".md", ".markdown"),
    "html": (".html", ".htm", ".xhtml"),
    "pdf": (".pdf",),
    "docx": (".docx",),
}
_MARKDOWN = (".md", ".markdown")
_MEGABYTE = 1_000_000


class FilesSource(PathSource):
    """Files, or all of the known kinds in a folder."""

    kind: Literal["files"] = option("files", en="Kind of source", ja="情報源の種類")
    formats: list[Format] = option(
        lambda: list(SUFFIXES),
        en="Formats",
        ja="形式",
        help=("which of them to read in a folder", "フォルダから読む形式"),
        min_length=1,
    )
    largest_mb: int = option(
        100,
        en="Largest file (MB)",
        ja="最大サイズ (MB)",
        help=(
            "a larger web page, PDF or Word file is passed over; text has no limit",
            "これを超えるウェブページ・PDF・Word 文書は読み飛ばす (テキストに上限はない)",
        ),
        ge=1,
        le=1000,
    )


def read_files(settings: FilesSource, problems: Problems = stop) -> Iterator[Document]:
    """A document a file; text of more than 16 million characters becomes several of one group.

    `problems` is told of every file that cannot be read. Raises `NotFoundError` if there is none.
    """
    suffixes = [suffix for name in settings.formats for suffix in SUFFIXES[name]]
    with ExitStack() as processes:
        html = processes.enter_context(Apart("html"))
        pdf = processes.enter_context(Apart("pdf"))
        for name, path in find_files(Path(settings.path), suffixes, problems):
            suffix = path.suffix.lower()
            try:
                if suffix in SUFFIXES["html"]:
                    found = html(_raw(settings, path), where=str(path))
                elif suffix in SUFFIXES["pdf"]:
                    found = pdf(_raw(settings, path), where=str(path))
                elif suffix in SUFFIXES["docx"]:
                    found = extract_docx(_raw(settings, path), str(path))
                else:
                    yield from _plain(settings, name, path, problems)
                    continue
            except DataError as error:
                problems(error)
                continue
            if found.problem:
                problems(DataError(found.problem, where=str(path)))
            yield _document(settings, name, found)


def _raw(settings: FilesSource, path: Path) -> bytes:
    return read_file(path, settings.largest_mb * _MEGABYTE)


def _plain(settings: FilesSource, name: str, path: Path, problems: Problems) -> Iterator[Document]:
    for number, part in enumerate(read_parts(path, problems), 1):
        title, text = markdown_title(part) if path.suffix.lower() in _MARKDOWN else ("", part)
        id = name if number == 1 else f"{name}#{number}"
        yield settings.document(id, text, group=name, title=title or path.stem)


def _document(settings: FilesSource, name: str, found: Extract) -> Document:
    return settings.document(
        name,
        found.text,
        title=found.title or PurePosixPath(name).stem,
        author=found.author,
        licence=found.licence,
        language=found.language,
    )
