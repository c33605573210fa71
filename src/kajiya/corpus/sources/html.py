"""The main text of a web page, without menus, adverts and footers.

The work is trafilatura's (Apache-2.0), which fetches nothing here; this finds the encoding, the title,
the language and the licence. Meant to be called through `apart`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from kajiya.corpus.sources.extract import Extract
from kajiya.corpus.sources.licences import licence_of_url
from kajiya.corpus.sources.opened import undecodable

_META = re.compile(rb"<meta[^<>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,200}\?>")
_HEAD = 4096  # bytes in which a page declares its encoding
_FEW = 0.001  # of the characters may be broken
_LEGACY = """
    utf-8 utf-16-le utf-16-be cp932 euc_jp iso2022_jp gb2312 gbk gb18030 big5 euc_kr cp949 ascii koi8-r
    iso8859-1 iso8859-2 iso8859-9 iso8859-15 cp1250 cp1251 cp1252 cp1254 cp874
"""
_KNOWN = frozenset(_LEGACY.split())  # Python has more, such as zip and punycode, for other uses
_NAMES = dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j"), "cp932")


def extract_html(raw: bytes, content_type: str) -> Extract:
    """The main text of a page; empty for a page without one. `content_type` is the server's, or empty.

    Raises `DataError` for bytes that are not text in any encoding that may be meant.
    """
    import trafilatura
    from lxml import etree
    from lxml.html import document_fromstring

    page = _DECLARATION.sub("", decode_html(raw, content_type).replace("\0", ""))
    try:
        tree = document_fromstring(page)
    except (etree.ParserError, ValueError):  # nothing but white space and comments
        return Extract("")
    title, language, licence = _title(tree), _language(tree), _licence(tree)
    found = trafilatura.extract(tree, include_comments=False)  # takes the tree apart
    return Extract(found or "", title=title, language=language, licence=licence)


def decode_html(raw: bytes, content_type: str = "") -> str:
    """The characters of a page: UTF-8, ISO-2022-JP, what the page or the server says, Shift_JIS, EUC-JP.

    The first that fits, since pages are often wrong about themselves; of the encoding declared, one
    character in a thousand may be broken. Raises `DataError`.
    """
    names = list(_encodings(raw, content_type))
    for name in names:
        try:
            return raw.decode(name)
        except UnicodeDecodeError:
            continue
    for name in names:
        text = raw.decode(name, errors="replace")
        if text.count("\ufffd") <= _FEW * len(text):
            return text
    raise undecodable("")


def _encodings(raw: bytes, content_type: str) -> Iterator[str]:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield "utf-16"
    if b"\x1b$" in raw[:_HEAD]:
        yield "iso2022_jp"
    yield "utf-8-sig"
    said = [found[1].decode() for found in _META.finditer(raw[:_HEAD])]
    said += [found[1] for found in _CHARSET.finditer(content_type)]
    for name in said:
        with suppress(LookupError):
            codec = codecs.lookup(_NAMES.get(name.lower(), name)).name
            if codec in _KNOWN:
                yield codec
    yield from ("cp932", "euc_jp")


def _title(tree: Any) -> str:
    return " ".join((tree.findtext(".//title") or "").split())


def _language(tree: Any) -> str:
    """The ISO 639-1 code of the page's own language."""
    code = (tree.get("lang") or "").replace("_", "-").partition("-")[0].lower()
    return code if len(code) == 2 and code.isalpha() and code.isascii() else ""


def _licence(tree: Any) -> str:
    links = tree.xpath("//*[contains(concat(' ', @rel, ' '), ' license ')]/@href")
    return next((name for link in links if (name := licence_of_url(str(link)))), "")
