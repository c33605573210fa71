"""Which encoding a text file is in, found by strictly decoding all of it.

UTF-8, UTF-16, CP932 (the Shift_JIS of Windows) and EUC-JP. A file in none of them is refused with
the line and byte where reading stopped: guessing would put wrong characters into a model.
"""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO, TextIO

from kajiya.core.language import tr
from kajiya.data.problems import TableError, at_line
from kajiya.data.source import empty, head

_CHUNK = 1 << 20
_TITLES = {"utf-8": "UTF-8", "utf-16-le": "UTF-16 LE", "utf-16-be": "UTF-16 BE", "cp932": "CP932"}
_KANA = re.compile(r"[ぁ-んァ-ヶー、。]")
_HALF_KANA = re.compile(r"[｡-ﾟ]")


def detect_encoding(file: BinaryIO, where: str) -> str:
    """Python's name of the encoding, after reading all of the file.

    Raises `TableError`: empty, nul, encoding, utf16_odd.
    """
    start = head(file)
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if start.startswith(mark):
            return _sure(file, name, len(mark), where)
    wide = _evident_utf16(start)
    if wide:
        return _sure(file, wide, 0, where)
    failures: dict[str, int] = {}
    for names in (("utf-8",), ("cp932", "euc-jp")):
        places = {name: _decode(file, name, 0) for name in names}
        fitting = [name for name, place in places.items() if place is None]
        if fitting:
            likely = max(fitting, key=lambda name: _japanese(start, name))
            return _sure(file, likely, 0, where)
        failures |= {name: place for name, place in places.items() if place is not None}
    best = max(failures, key=lambda name: failures[name])
    raise _undecodable(file, best, failures[best], where)


def rewind(text: TextIO) -> None:
    """Go to the first character after the byte order mark, if there is one."""
    text.seek(0)
    if text.read(1) != "\ufeff":
        text.seek(0)


def _sure(file: BinaryIO, name: str, skip: int, where: str) -> str:
    """`name` if the file is in it and holds text."""
    wide = name.startswith("utf-16")
    failure = _decode(file, name, skip)
    if failure is not None:
        file.seek(0, 2)
        if wide and (file.tell() - skip) % 2:
            raise TableError(
                "utf16_odd",
                tr(
                    "UTF-16 text with an odd number of bytes: its end is missing",
                    "UTF-16 の文書なのにバイト数が奇数です (末尾が欠けています)",
                ),
                where=where,
                fix=tr("copy or save the file again", "コピーまたは保存をやり直してください"),
            )
        raise _undecodable(file, name, failure, where)
    _refuse_nul(file, name, skip, where)
    return name


def _evident_utf16(start: bytes) -> str | None:
    """UTF-16 without a mark: commas and line ends have a zero byte, always on the same side."""
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if (even == 0) == (odd == 0):
        return None
    name = "utf-16-le" if odd else "utf-16-be"
    if 4 * max(even, odd) >= len(start):  # half of a text in the Latin alphabet
        return name
    text = start[: len(start) // 2 * 2].decode(name, errors="replace")
    broken = any(mark in text for mark in ("\ufffd", "\0"))
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(start)
    except UnicodeDecodeError:
        return name if "\n" in text and not broken else None
    return None  # UTF-8 with a stray zero byte


def _decode(file: BinaryIO, name: str, skip: int) -> int | None:
    """None if all of the file decodes, else the offset of the first byte that does not."""
    decoder = codecs.getincrementaldecoder(name)("strict")
    file.seek(skip)
    position = skip
    while True:
        chunk = file.read(_CHUNK)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return position - pending + error.start
        if not chunk:
            return None
        position += len(chunk)


def _refuse_nul(file: BinaryIO, name: str, skip: int, where: str) -> None:
    decoder = codecs.getincrementaldecoder(name)("strict")
    file.seek(skip)
    lines, blank = 1, True
    while chunk := file.read(_CHUNK):
        text = decoder.decode(chunk)
        if "\0" in text:
            before = text[: text.index("\0")]
            raise TableError(
                "nul",
                tr("there is a NUL character (byte 00)", "NUL 文字 (バイト 00) があります"),
                where=at_line(where, lines + before.count("\n")),
                fix=tr(
                    "the file is damaged or not text: save it again as 'CSV UTF-8'",
                    "ファイルが壊れているか、文書ではありません。「CSV UTF-8」で保存し直してください",
                ),
            )
        lines += text.count("\n")
        blank = blank and not text.strip()
    if blank:
        raise empty(where)


def _japanese(start: bytes, name: str) -> int:
    """How much a text read as `name` looks like Japanese; the other encoding gives half-width kana."""
    text = start.decode(name, errors="ignore")
    return len(_KANA.findall(text)) - 2 * len(_HALF_KANA.findall(text))


def _undecodable(file: BinaryIO, name: str, offset: int, where: str) -> TableError:
    file.seek(0)
    before = file.read(offset)
    byte = file.read(1)
    line = before.count(b"\n") + 1
    title = _TITLES.get(name, name)
    shown = byte.hex().upper() or "--"
    return TableError(
        "encoding",
        tr(
            f"byte {offset + 1} ({shown}) is not valid {title}, nor is the file in another known encoding",
            f"{offset + 1} バイト目 ({shown}) が {title} として読めず、ほかの文字コードでもありません",
        ),
        where=at_line(where, line),
        fix=tr(
            "save the file as 'CSV UTF-8', or mend the characters on that line",
            "「CSV UTF-8」で保存し直すか、その行の文字を直してください",
        ),
    )
