"""Plain text as documents: `.txt` and `.md` files, `.jsonl` with a `text` field, folders of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from kajiya.core.errors import DataError, NotFoundError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.data.encoding import detect_encoding

_TEXT = (".txt", ".md")
_LINES = ".jsonl"


def find_text_files(paths: Sequence[Path]) -> list[Path]:
    """The files to read, in order: those named, and all of the known kinds in the folders named.

    Raises `NotFoundError` for a path that is not there and for a folder without text.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in (*_TEXT, _LINES))
            if not inside:
                raise NotFoundError(
                    tr("the folder holds no text", "フォルダに文書がありません"),
                    where=str(path),
                    fix=tr(
                        "files ending in .txt, .md and .jsonl are read",
                        ".txt .md .jsonl で終わるファイルを読みます",
                    ),
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise NotFoundError(
                tr("there is no such file or folder", "ファイルもフォルダもありません"),
                where=str(path),
            )
    return found


def read_text(paths: Sequence[Path]) -> Iterator[Document]:
    """A document a file, or a line of `.jsonl`; empty ones are passed over.

    Encodings are found as for tables (UTF-8, UTF-16, CP932, EUC-JP). Raises `DataError` naming file
    and line where a text cannot be read.
    """
    for path in find_text_files(paths):
        with path.open("rb") as file:
            encoding = detect_encoding(file, str(path))
        with path.open(encoding=encoding) as text:
            if path.suffix == _LINES:
                yield from _lines(path, text)
            else:
                content = text.read().removeprefix("\ufeff").strip()
                if content:
                    yield Document(str(path), content + "\n", group=str(path), title=path.stem)


def _lines(path: Path, lines: Iterator[str]) -> Iterator[Document]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}: {number}"
        try:
            text = json.loads(line.removeprefix("\ufeff"))["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise DataError(
                tr(
                    'each line has to be an object with a "text"',
                    '各行は "text" を持つオブジェクトでなければなりません',
                ),
                where=where,
            )
        if text.strip():
            yield Document(where, text.strip() + "\n", group=where)
