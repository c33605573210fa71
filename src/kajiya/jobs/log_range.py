"""Stretches of a job's printed log, so that nobody has to load ten megabytes to read the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kajiya.core.printable import printable

MOST = 64 * 1024  # bytes in one stretch


@dataclass(frozen=True)
class LogRange:
    """The text of the bytes from `start` to `end` of a log that has `size` bytes now."""

    start: int
    end: int
    size: int
    text: str


def read_before(path: Path, end: int | None = None) -> LogRange:
    """Whole lines that end at byte `end`, by default the last ones of the file."""
    size = _size(path)
    end = size if end is None else max(0, min(end, size))
    start = max(0, end - MOST)
    data = _bytes(path, start, end)
    if start:  # begin with a whole line, if there is one
        skipped = data.find(b"\n") + 1
        start, data = start + skipped, data[skipped:]
    return LogRange(start, end, size, _text(data))


def read_after(path: Path, start: int) -> LogRange:
    """Whole lines from byte `start` on; an unfinished last line waits."""
    size = _size(path)
    start = max(0, min(start, size))
    data = _bytes(path, start, start + MOST)
    whole = data.rfind(b"\n") + 1
    if whole or len(data) < MOST:
        data = data[:whole]
    return LogRange(start, start + len(data), size, _text(data))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _bytes(path: Path, start: int, end: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    except FileNotFoundError:
        return b""


def _text(data: bytes) -> str:
    return printable(data.decode("utf-8", errors="replace"))
