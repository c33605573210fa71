"""XML as a stream of events, without document types: no entities to expand, nothing fetched, flat memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Literal
from xml.parsers import expat

from kajiya.core.errors import DataError
from kajiya.core.language import tr

Event = tuple[Literal["start", "end", "text"], str, dict[str, str]]

_CHUNK = 1 << 16
_LONGEST = 16 << 20  # bytes of one tag


def xml_events(file: IO[bytes], where: str) -> Iterator[Event]:
    """("start", name, attributes), ("end", name, {}) and ("text", characters, {}) in their order.

    Names are as they are written, prefix included. Raises `DataError` naming line and byte for what
    is not well-formed, for a document type and for a tag of more than 16 MB.
    """
    events: list[Event] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = _CHUNK
    parser.StartElementHandler = lambda name, given: events.append(("start", name, given))
    parser.EndElementHandler = lambda name: events.append(("end", name, {}))
    parser.CharacterDataHandler = lambda text: events.append(("text", text, {}))
    parser.StartDoctypeDeclHandler = _refuse
    silent = 0  # bytes since the last event
    while True:
        chunk = file.read(_CHUNK)
        try:
            parser.Parse(chunk, not chunk)
        except (expat.ExpatError, _DoctypeError) as error:
            line, byte = parser.CurrentLineNumber, parser.CurrentByteIndex
            yield from events
            raise _broken(str(error), where, line, max(0, byte)) from None
        silent = 0 if events else silent + len(chunk)
        if silent > _LONGEST:
            reason = tr("a tag that does not end", "閉じないタグがあります")
            raise _broken(reason, where, parser.CurrentLineNumber, parser.CurrentByteIndex)
        yield from events
        events.clear()
        if not chunk:
            return


class _DoctypeError(Exception):
    pass


def _refuse(*_: object) -> None:
    raise _DoctypeError(
        tr(
            "a document type (DOCTYPE) is not accepted here",
            "文書型宣言 (DOCTYPE) は受け付けません",
        )
    )


def _broken(reason: str, where: str, line: int, byte: int) -> DataError:
    return DataError(
        tr(f"not valid XML: {reason}", f"XML として正しくありません: {reason}"),
        where=tr(
            f"{where}, line {line} (byte {byte:,})", f"{where} の {line} 行目 ({byte:,} バイト目)"
        ),
        fix=tr("get or copy it again", "取得かコピーをやり直してください"),
    )
