"""Opens a file that somebody named, after making sure that it is one and not too large.

Looks at the path and the first bytes only; text encodings are `encoding`'s matter.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from kajiya.core.language import tr
from kajiya.data.problems import TableError, save_as_csv

MEGABYTE = 1_000_000
DEFAULT_LIMIT = 200 * MEGABYTE
_HEAD = 8192
_XLSX_PARTS = (b"[Content_Types].xml", b"xl/", b"_rels/.rels")
_BINARY = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "xls",
        "an old Excel or Word file",
        "古い Excel か Word のファイル",
    ),
    (b"%PDF-", "pdf", "a PDF document", "PDF 文書"),
    (b"\x89PNG\r\n\x1a\n", "image", "a PNG picture", "PNG 画像"),
    (b"\xff\xd8\xff", "image", "a JPEG picture", "JPEG 画像"),
    (b"GIF8", "image", "a GIF picture", "GIF 画像"),
    (b"\x1f\x8b", "gzip", "a gzip archive", "gzip で圧縮されたファイル"),
    (b"BZh", "archive", "a bzip2 archive", "bzip2 で圧縮されたファイル"),
    (b"\xfd7zXZ\x00", "archive", "an xz archive", "xz で圧縮されたファイル"),
    (b"\x28\xb5\x2f\xfd", "archive", "a Zstandard archive", "Zstandard で圧縮されたファイル"),
    (b"7z\xbc\xaf\x27\x1c", "archive", "a 7-Zip archive", "7-Zip の書庫"),
    (b"Rar!\x1a\x07", "archive", "a RAR archive", "RAR の書庫"),
    (b"SQLite format 3\x00", "sqlite", "an SQLite database", "SQLite データベース"),
    (b"GGUF", "model", "a GGUF model", "GGUF 形式のモデル"),
    (b"\x7fELF", "program", "a program", "プログラム"),
    (b"{\\rtf", "rtf", "a rich text document", "リッチテキスト文書"),
    (b"ARROW1", "arrow", "an Arrow file", "Arrow 形式のファイル"),
    (b"\x80\x04\x95", "pickle", "a Python pickle", "Python の pickle"),
)


def open_source(path: Path, limit_bytes: int = DEFAULT_LIMIT) -> BinaryIO:
    """Open a regular file of at most `limit_bytes` for reading.

    Raises `TableError`: missing, link_loop, directory, not_a_file, unreadable, too_large, empty.
    """
    where = str(path)
    try:
        _check(path.stat(), where, limit_bytes)
        # Not blocking: were the file swapped for a pipe meanwhile, opening it would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise _unopened(error, where) from None
    file = os.fdopen(descriptor, "rb")
    try:
        _check(os.fstat(descriptor), where, limit_bytes)
    except TableError:
        file.close()
        raise
    return file


def _check(status: os.stat_result, where: str, limit_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise TableError(
            "directory",
            tr("this is a folder", "これはフォルダです"),
            where=where,
            fix=tr("name the file in it", "中のファイルを指定してください"),
        )
    if not stat.S_ISREG(status.st_mode):
        raise TableError(
            "not_a_file",
            tr("this is a pipe or a device", "これはパイプかデバイスです"),
            where=where,
            fix=tr("save the data as a file first", "データをファイルに保存してください"),
        )
    if status.st_size > limit_bytes:
        raise too_large(status.st_size, limit_bytes, where)
    if status.st_size == 0:
        raise empty(where)


def too_large(size_bytes: int, limit_bytes: int, where: str) -> TableError:
    """The problem of a file over the limit."""
    size, limit = size_bytes / MEGABYTE, limit_bytes / MEGABYTE
    return TableError(
        "too_large",
        tr(
            f"the file has {size:,.1f} MB, the limit is {limit:,.1f} MB",
            f"ファイルが {size:,.1f} MB あります (上限は {limit:,.1f} MB)",
        ),
        where=where,
        fix=tr("split it, or raise --limit-mb", "分割するか、--limit-mb で上限を上げてください"),
    )


def empty(where: str) -> TableError:
    """The problem of a file with nothing in it."""
    return TableError(
        "empty",
        tr("the file is empty", "ファイルが空です"),
        where=where,
        fix=tr("save it again with its rows", "内容のあるファイルを保存し直してください"),
    )


def _unopened(error: OSError | ValueError, where: str) -> TableError:
    number = error.errno if isinstance(error, OSError) else errno.EINVAL
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL):
        return TableError(
            "missing",
            tr("there is no such file", "ファイルがありません"),
            where=where,
            fix=tr("check the path and its spelling", "場所と名前を確かめてください"),
        )
    if number == errno.ELOOP:
        return TableError(
            "link_loop",
            tr("the link leads back to itself", "リンクが自分自身に戻っています"),
            where=where,
            fix=tr("name the file itself", "リンク先のファイルを直接指定してください"),
        )
    reason = os.strerror(number or 0)
    return TableError(
        "unreadable",
        tr(f"the file cannot be opened: {reason}", f"ファイルを開けません: {reason}"),
        where=where,
        fix=tr("check who may read it", "読み取りの権限を確かめてください"),
    )


def head(file: BinaryIO) -> bytes:
    """The first bytes; the position is left at the start."""
    file.seek(0)
    data = file.read(_HEAD)
    file.seek(0)
    return data


def refuse_binary(data: bytes, where: str) -> None:
    """Raise `TableError` if the first bytes of a file are those of something that is not text."""
    for magic, code, en, ja in _BINARY:
        if data.startswith(magic):
            raise _other_kind(code, en, ja, where)
    if data.startswith(b"PK\x03\x04"):
        if any(part in data for part in _XLSX_PARTS):
            raise _other_kind(
                "xlsx", "an Excel or other office file", "Excel などのオフィス文書", where
            )
        raise _other_kind("zip", "a ZIP archive", "ZIP の書庫", where)
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise _other_kind("html", "a web page (HTML)", "ウェブページ (HTML)", where)


def _other_kind(code: str, en: str, ja: str, where: str) -> TableError:
    if code in ("zip", "gzip", "archive"):
        fix = tr("unpack it and name the file inside", "展開して、中のファイルを指定してください")
    else:
        fix = save_as_csv()
    return TableError(
        code,
        tr(f"this is {en}, not a table", f"これは{ja}で、表ではありません"),
        where=where,
        fix=fix,
    )
