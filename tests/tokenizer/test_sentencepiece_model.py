"""The model file of SentencePiece, against SentencePiece's own reading of it."""

from __future__ import annotations

import io

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from kajiya.core.errors import FormatError
from kajiya.tokenizer.sentencepiece_model import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    ModelPiece,
    read_model,
    write_model,
)
from support.japanese import japanese_texts


@pytest.fixture(scope="module")
def model() -> bytes:
    written = io.BytesIO()
    lines = [line for text in japanese_texts() for line in text.split("\n") if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=2500,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return written.getvalue()


def test_it_reads_what_sentencepiece_reads(model: bytes) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces, _ = read_model(model)
    assert len(pieces) == theirs.get_piece_size()
    for index, piece in enumerate(pieces):
        assert piece.text == theirs.id_to_piece(index)
        assert piece.score == theirs.get_score(index)
        assert (piece.kind == BYTE) == theirs.is_byte(index)
        assert (piece.kind == CONTROL) == theirs.is_control(index)
        assert (piece.kind == UNKNOWN) == theirs.is_unknown(index)


def test_what_is_written_is_read_by_sentencepiece(model: bytes) -> None:
    pieces, rest = read_model(model)
    assert read_model(write_model(pieces, rest)) == (pieces, rest)
    changed = [*pieces[:-1], ModelPiece("鍛冶屋", -0.5)]
    theirs = sentencepiece.SentencePieceProcessor(model_proto=write_model(changed, rest))
    assert theirs.encode("鍛冶屋", out_type=str) == ["▁", "鍛冶屋"]


@given(st.text(max_size=300), st.floats(-1e6, 0, width=32), st.sampled_from([NORMAL, BYTE]))
def test_any_piece_comes_back(text: str, score: float, kind: int) -> None:
    pieces = [ModelPiece(text, score, kind), ModelPiece("a", -1.0)]
    assert read_model(write_model(pieces, b"")) == (pieces, b"")


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_read(data: bytes) -> None:
    try:
        pieces, _ = read_model(data)
    except FormatError:
        return
    assert pieces


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_cut_short_is_refused(model: bytes, cut: int) -> None:
    with pytest.raises(FormatError):
        read_model(model[:-cut])
