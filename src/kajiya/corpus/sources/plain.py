"""Plain text and Markdown files, in parts where they are long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kajiya.corpus.sources.opened import line_too_long, read_lines
from kajiya.corpus.sources.source import Problems
from kajiya.data.encoding import detect_encoding
from kajiya.data.problems import TableError, at_line

PART = 16_000_000  # characters
_FRONT_MATTER = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#[ \t]+(.{1,200})$", re.MULTILINE)


def read_parts(path: Path, problems: Problems) -> Iterator[str]:
    """The text of a file in UTF-8, UTF-16, CP932 or EUC-JP, in parts of at most `PART` characters.

    A part ends at an empty line in the second half where there is one, else at a line's end. A file
    with nothing in it has no part. Raises `DataError` for a file in none of these encodings.
    """
    with path.open("rb") as file:
        try:
            encoding = detect_encoding(file, str(path))
        except TableError as error:
            if error.code == "empty":
                return
            raise
    part: list[str] = []
    size = 0
    for number, line in read_lines(path, encoding, PART):
        if line is None:
            problems(line_too_long(at_line(str(path), number), PART))
            continue
        if size + len(line) > PART or (size > PART // 2 and not line.strip()):
            yield "".join(part)
            part, size = [], 0
        part.append(line)
        size += len(line)
    if size:
        yield "".join(part)


def markdown_title(text: str) -> tuple[str, str]:
    """(title, text) of a Markdown document: its first heading; the text without front matter."""
    text = _FRONT_MATTER.sub("", text, count=1)
    found = _HEADING.search(text)
    return found[1].strip() if found else "", text
