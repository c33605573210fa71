"""Finds the files of a source and opens them, packed or not, with limits that hold for any content.

Knows nothing of what is in them.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from kajiya.core.errors import DataError, NotFoundError
from kajiya.core.language import tr
from kajiya.corpus.sources.source import Problems
from kajiya.data.encoding import detect_encoding
from kajiya.data.problems import TableError, at_line

PACKED = (".gz", ".bz2", ".xz", ".zst")
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)
_SAMPLE = 1 << 16
_SKIP = 1 << 20


def find_files(
    path: Path, suffixes: Sequence[str], problems: Problems
) -> Iterator[tuple[str, Path]]:
    """(name, file) of the file `path`, or of all files under the folder `path` with one of `suffixes`.

    Names are relative to the folder, with `/`, and in the order of the alphabet. Hidden files and
    links in the folder are passed over: a link may lead anywhere.

    Raises `NotFoundError` for a path that is not there and for a folder without such files.
    """
    if path.is_dir():
        found = False
        for name in _inside(path, "", problems):
            if name.lower().endswith(tuple(suffixes)):
                found = True
                yield name, path / name
        if not found:
            kinds = " ".join(suffixes)
            raise NotFoundError(
                tr("the folder holds no file to read", "フォルダに読めるファイルがありません"),
                where=str(path),
                fix=tr(f"files ending in {kinds} are read", f"{kinds} で終わるファイルを読みます"),
            )
    elif path.is_file():
        yield path.name, path
    else:
        raise NotFoundError(
            tr("there is no such file or folder", "ファイルもフォルダもありません"), where=str(path)
        )


def _inside(folder: Path, prefix: str, problems: Problems) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            # A folder and its files in one order, so that it is the order of the whole names.
            found = sorted(entries, key=lambda e: e.name + "/" * e.is_dir(follow_symlinks=False))
    except OSError as error:
        problems(_unreadable(error, str(folder)))
        return
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _inside(folder / entry.name, f"{prefix}{entry.name}/", problems)
        elif entry.is_file(follow_symlinks=False):
            yield prefix + entry.name


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes as a stream, unpacked if its name ends in one of `PACKED`.

    Raises `DataError` naming the byte of the file at which it turned out to be damaged.
    """
    position = 0
    try:
        with path.open("rb") as raw:
            try:
                with _unpacked(raw, path.suffix.lower()) as file:
                    yield file
            except _BROKEN:
                position = raw.tell()
                raise
    except _BROKEN as error:
        raise _unreadable(error, f"{path}, byte {position:,}" if position else str(path)) from None


def read_file(path: Path, largest: int) -> bytes:
    """All bytes of a file of at most `largest` bytes, as `opened` gives them."""
    with opened(path) as file:
        raw = file.read(largest + 1)
    if len(raw) > largest:
        raise too_large(str(path), largest)
    return raw


def too_large(where: str, largest: int) -> DataError:
    """The problem of an item that passes a limit in bytes."""
    return DataError(
        tr(
            f"larger than {largest / 1e6:,.0f} MB, so it is passed over",
            f"{largest / 1e6:,.0f} MB を超えるため読み飛ばします",
        ),
        where=where,
        fix=tr("split it", "分割してください"),
    )


def read_lines(path: Path, encoding: str, longest: int) -> Iterator[tuple[int, str | None]]:
    """(number, line) of a text file; None for a line of more than `longest` characters.

    Such a line is never held in memory. Bytes that are not in `encoding` are lone surrogates in the
    line. `encoding` may be empty: then the file's beginning tells.
    """
    encoding = encoding or guess_encoding(path)
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding, errors="surrogateescape")
        number = 0
        try:
            while line := text.readline(longest + 1):
                number += 1
                if len(line) > longest and not line.endswith("\n"):
                    while line and not line.endswith("\n"):
                        line = text.readline(_SKIP)
                    yield number, None
                else:
                    yield number, line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeDecodeError:  # UTF-16, where no byte stands for itself
            raise undecodable(at_line(str(path), number + 1), encoding) from None
        finally:
            text.detach()


def line_too_long(where: str, longest: int) -> DataError:
    return DataError(
        tr(
            f"a line of more than {longest:,} characters, passed over",
            f"{longest:,} 文字を超える行のため読み飛ばします",
        ),
        where=where,
        fix=tr("put each document on a line of its own", "1 行に 1 文書ずつ書いてください"),
    )


def undecodable(where: str, encoding: str = "") -> DataError:
    """The problem of bytes that are not text."""
    name = encoding.upper() or tr("any known encoding", "既知の文字コード")
    return DataError(
        tr(f"broken characters: not {name}", f"文字が壊れています ({name} として読めません)"),
        where=where,
        fix=tr("save it as UTF-8", "UTF-8 で保存し直してください"),
    )


def guess_encoding(path: Path) -> str:
    """The encoding of whole lines at the beginning; UTF-8 where they have none, or are it but for damage."""
    with opened(path) as file:
        start = file.read(_SAMPLE)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(start) == _SAMPLE:
        start = start[: start.rfind(b"\n") + 1] or start
    if _mostly_utf8(start):  # of which a few broken bytes can make valid, and senseless, CP932
        return "utf-8"
    try:
        return detect_encoding(io.BytesIO(start), str(path))
    except TableError:
        return "utf-8"


def _mostly_utf8(raw: bytes) -> bool:
    """Whether more bytes are characters of three in UTF-8, as Japanese is, than are none at all."""
    text = raw.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= character <= "\udcff" for character in text)
    wide = sum(character >= "\u0800" for character in text) - broken
    return 3 * wide > broken


@contextmanager
def _unpacked(raw: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        with gzip.GzipFile(fileobj=raw) as file:
            yield cast(BinaryIO, file)
    elif suffix == ".bz2":
        with bz2.BZ2File(raw) as file:
            yield cast(BinaryIO, file)
    elif suffix == ".xz":
        with lzma.LZMAFile(raw) as file:
            yield cast(BinaryIO, file)
    elif suffix == ".zst":
        import pyarrow as pa

        # Closing it would close `raw` too, which is to tell how far it was read.
        yield cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(raw, "zstd")))
    else:
        yield raw


def _unreadable(error: BaseException, where: str) -> DataError:
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return DataError(
        tr(f"cannot be read: {reason}", f"読めません: {reason}"),
        where=where,
        fix=tr("get or copy it again", "取得かコピーをやり直してください"),
    )
