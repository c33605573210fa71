"""Web archives (WARC, packed or not): the main text of the pages in them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.sources.apart import Apart
from kajiya.corpus.sources.extract import Extract
from kajiya.corpus.sources.html import decode_html
from kajiya.corpus.sources.opened import find_files, too_large
from kajiya.corpus.sources.source import PathSource, Problems, stop

SUFFIXES = (".warc.gz", ".warc")
_LARGEST = 20_000_000  # bytes of a page, packed or not
_PAGES = ("text/html", "application/xhtml+xml")
_STARTS = {".gz": b"\x1f\x8b\x08", ".warc": b"\nWARC/1."}  # where the next record may begin
_CHUNK = 1 << 20


class WarcSource(PathSource):
    """A web archive, or all in a folder."""

    kind: Literal["warc"] = option("warc", en="Kind of source", ja="情報源の種類")
    domain: str = option("web", en="Kind of text", ja="文書の種別")


def read_warc(settings: WarcSource, problems: Problems = stop) -> Iterator[Document]:
    """A document a page that was answered with status 200, its id that of the record.

    `problems` is told of pages that cannot be read, and of damage: reading goes on with the next record
    that can be found after it. Raises `NotFoundError` if there is no archive.
    """
    with Apart("html") as html:
        for _, path in find_files(Path(settings.path), SUFFIXES, problems):
            with path.open("rb") as file:
                for record in _records(file, path, problems):
                    where = f"{path}, byte {record.stream_pos:,}"
                    try:
                        found = _page(record, html, where)
                    except DataError as error:
                        problems(error)
                        continue
                    if found is not None:
                        yield settings.document(
                            (record.record_id or where).removeprefix("<urn:uuid:").strip("<>"),
                            found.text,
                            title=found.title,
                            url=record.headers.get("WARC-Target-URI", "") or "",
                            licence=found.licence,
                            collected_at=(record.headers.get("WARC-Date", "") or "")[:10],
                            language=found.language,
                        )


def _records(file: BinaryIO, path: Path, problems: Problems) -> Iterator[WarcRecord]:
    """The responses in an archive, each whole and in memory."""
    position = 0
    damaged = False  # a problem is told once, until there is a record again
    while True:
        file.seek(position)
        try:
            for record in ArchiveIterator(file, WarcRecordType.response, parse_http=False):
                position, damaged = record.stream_pos, False
                size, where = record.content_length, f"{path}, byte {record.stream_pos:,}"
                if size > _LARGEST:
                    # Not read over: the size may be wrong, and the next record nearer.
                    problems(too_large(where, _LARGEST))
                    damaged = True
                    break
                if record.freeze() and record.content_length < size:
                    raise EOFError(tr("the record is cut off", "レコードが途中で切れています"))
                yield record
            else:
                _check_end(file, path, position)
                return
        except (OSError, EOFError, zlib.error) as error:
            if not damaged:
                problems(_damaged(error, f"{path}, byte {position:,}"))
            damaged = True
        following = _find(file, _STARTS[path.suffix.lower()], position + 1)
        if following is None:
            return
        position = following


def _check_end(file: BinaryIO, path: Path, position: int) -> None:
    """Raises `EOFError` where what follows the last response is cut off, which its reader takes for an end."""
    if path.suffix.lower() == ".gz":
        file.seek(position)
        with gzip.GzipFile(fileobj=file) as rest:
            while rest.read(_CHUNK):
                pass


def _find(file: BinaryIO, start: bytes, position: int) -> int | None:
    """Where `start` is found at or after `position`."""
    file.seek(position)
    before = b""
    while chunk := file.read(_CHUNK):
        at = (before + chunk).find(start)
        if at >= 0:
            return position - len(before) + at
        position += len(chunk)
        before = chunk[-len(start) + 1 :]
    return None


def _page(record: WarcRecord, html: Apart, where: str) -> Extract | None:
    """The text of a record; None for what is no page."""
    try:
        record.parse_http(auto_decode="all")
        kind = (record.http_content_type or "").lower()
        if not record.is_http_parsed or record.http_headers.status_code != 200:
            return None
        if kind not in (*_PAGES, "text/plain"):
            return None
        body = record.reader.read(_LARGEST + 1)
        declared = record.http_headers.get("Content-Type") or ""
    except (OSError, ValueError) as error:
        raise _damaged(error, where) from None
    if len(body) > _LARGEST:
        raise too_large(where, _LARGEST)
    if kind in _PAGES:
        return html(body, declared, where=where)
    return Extract(decode_html(body, declared))


def _damaged(error: BaseException, where: str) -> DataError:
    return DataError(
        tr(
            f"the archive is damaged here: {error}",
            f"アーカイブのこの箇所が壊れています: {error}",
        ),
        where=where,
        fix=tr("get or copy it again", "取得かコピーをやり直してください"),
    )
