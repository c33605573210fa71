"""SentencePiece's model file, as far as its list of pieces goes; all else in it stays as it is.

The file is a protocol buffer: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kajiya.core.errors import FormatError
from kajiya.core.language import tr

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "▁"
_PIECES = 1  # the field of the file that is a piece
_TEXT, _SCORE, _KIND = 1, 2, 3  # and the fields of a piece
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # how a field is written


@dataclass(frozen=True)
class ModelPiece:
    """A piece of a vocabulary: its text (spaces as ▁), log probability, and kind."""

    text: str
    score: float
    kind: int = NORMAL


def read_model(data: bytes) -> tuple[list[ModelPiece], bytes]:
    """The pieces by id, and the other fields as they are. Raises `FormatError` for other files."""
    pieces: list[ModelPiece] = []
    rest = bytearray()
    try:
        for number, start, value, end in _fields(data):
            if number == _PIECES:
                pieces.append(_piece(value))
            else:
                rest += data[start:end]
    except (IndexError, ValueError, struct.error):
        pieces = []
    if not pieces:
        raise FormatError(
            tr("this is no SentencePiece model", "SentencePiece のモデルではありません")
        )
    return pieces, bytes(rest)


def write_model(pieces: Sequence[ModelPiece], rest: bytes) -> bytes:
    """The file with these pieces and the other fields that `read_model` found."""
    written = bytearray()
    for piece in pieces:
        text = piece.text.encode()
        body = _tag(_TEXT, _BYTES) + _varint(len(text)) + text
        body += _tag(_SCORE, _FOUR) + struct.pack("<f", piece.score)
        body += _tag(_KIND, _VARINT) + _varint(piece.kind)
        written += _tag(_PIECES, _BYTES) + _varint(len(body)) + body
    return bytes(written) + rest


def _piece(body: bytes) -> ModelPiece:
    text, score, kind = "", 0.0, NORMAL
    for number, _, value, _ in _fields(body):
        if number == _TEXT:
            text = value.decode()
        elif number == _SCORE:
            score = float(struct.unpack("<f", value)[0])
        elif number == _KIND:
            kind = _read_varint(value, 0)[0]
    return ModelPiece(text, score, kind)


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """(number, start, value, end) of each field."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _read_varint(data, at)
        length = {_EIGHT: 8, _FOUR: 4}.get(tag & 7)
        if tag & 7 == _VARINT:
            length = _read_varint(data, at)[1] - at
        elif tag & 7 == _BYTES:
            length, at = _read_varint(data, at)
        if length is None or at + length > len(data):
            raise ValueError("not a field")
        yield tag >> 3, start, data[at : at + length], at + length
        at += length


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("not a number")


def _tag(number: int, kind: int) -> bytes:
    return bytes([number << 3 | kind])


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
