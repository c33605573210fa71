"""Word documents (.docx): the paragraphs of the body in their order, a table's cells a tab apart.

Deleted text, comments, headers, footers and footnotes are left out, and of ruby the base is kept.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator

from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.sources.extract import Extract
from kajiya.corpus.sources.opened import too_large
from kajiya.corpus.sources.xml_events import Event, xml_events

_BODY = "word/document.xml"
_PROPERTIES = "docProps/core.xml"
_LARGEST = 128 << 20  # bytes of XML, unpacked
# mc:Fallback repeats for older programs what stands beside it; w:rt is the small text of ruby.
_LEFT_OUT = ("mc:Fallback", "w:rt", "w:del", "w:moveFrom")
_BREAKS = {"w:tab": "\t", "w:br": "\n", "w:cr": "\n", "w:noBreakHyphen": "-"}
_ENDS = {"w:tc": "\t", "w:tr": "\n"}
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


def extract_docx(raw: bytes, where: str) -> Extract:
    """The text and the properties of a Word document. Raises `DataError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
            if _BODY not in names:
                raise _refused(tr("it holds no Word document", "Word 文書がありません"), where)
            text = "".join(_text(_events(archive, _BODY, where)))
            properties = (
                dict(_properties(_events(archive, _PROPERTIES, where)))
                if _PROPERTIES in names
                else {}
            )
    except _DAMAGED as error:
        raise _refused(str(error), where) from None
    lines = [line.replace(" \t", "\t").rstrip(" \t") for line in text.split("\n")]
    return Extract(
        re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip(),
        title=properties.get("dc:title", ""),
        author=properties.get("dc:creator", ""),
    )


def _events(archive: zipfile.ZipFile, name: str, where: str) -> Iterator[Event]:
    part = archive.getinfo(name)
    if part.file_size > _LARGEST:  # no more than this is unpacked, whatever the archive holds
        raise too_large(f"{where}: {name}", _LARGEST)
    if part.flag_bits & 1:
        raise _refused(tr("it is protected by a password", "パスワードで保護されています"), where)
    with archive.open(part) as file:
        yield from xml_events(file, f"{where}: {name}")


def _text(events: Iterator[Event]) -> Iterator[str]:
    left_out = tables = 0
    in_text = False
    for event, name, _ in events:
        if event == "text":
            if in_text and not left_out:
                yield name
            continue
        if name in _LEFT_OUT:
            left_out += 1 if event == "start" else -1
        elif name == "w:tbl":
            tables += 1 if event == "start" else -1
        elif name == "w:t":
            in_text = event == "start"
        elif left_out:
            continue
        elif event == "start":
            yield _BREAKS.get(name, "")
        elif name == "w:p":
            yield " " if tables else "\n"
        else:
            yield _ENDS.get(name, "")


def _properties(events: Iterator[Event]) -> Iterator[tuple[str, str]]:
    value: list[str] = []
    for event, name, _ in events:
        if event == "text":
            value.append(name)
        elif event == "start":
            value.clear()
        else:
            yield name, "".join(value).strip()
            value.clear()


def _refused(reason: str, where: str) -> DataError:
    return DataError(
        tr(f"not a Word document: {reason}", f"Word 文書として読めません: {reason}"),
        where=where,
        fix=tr(
            "open it in Word and save it as .docx", "Word で開き、.docx 形式で保存し直してください"
        ),
    )
