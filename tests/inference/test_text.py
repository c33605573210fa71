"""Bytes of tokens to text: whole characters, stop strings across tokens, nothing invalid."""

from __future__ import annotations

import codecs
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from kajiya.inference.text import TextWriter
from kajiya.tokenizer.token_bytes import token_bytes
from support.tiny_models import TEXTS, byte_level_tokenizer, sentencepiece_tokenizer

ALPHABET = "ab鍛冶🔥\n"


@st.composite
def cut_text(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A text, and its bytes cut into tokens anywhere."""
    text = draw(st.text(ALPHABET, max_size=30))
    data = text.encode()
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=20)) | {0, len(data)})
    return text, [data[a:b] for a, b in pairwise(cuts)]


def write_all(pieces: list[bytes], stops: list[str]) -> tuple[list[str], bool]:
    writer = TextWriter(pieces, stops)
    shown = []
    for token in range(len(pieces)):
        shown.append(writer.write(token))
        if writer.stopped:
            return shown, True
    return [*shown, writer.end()], False


@given(cut_text())
def test_a_text_comes_out_as_it_was(cut: tuple[str, list[bytes]]) -> None:
    text, pieces = cut
    shown, stopped = write_all(pieces, [])
    assert "".join(shown) == text
    assert not stopped


@given(cut_text(), st.lists(st.text(ALPHABET, min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_stop_ends_the_text_wherever_it_falls(
    cut: tuple[str, list[bytes]], stops: list[str]
) -> None:
    text, pieces = cut
    shown, stopped = write_all(pieces, stops)
    whole = "".join(shown)
    assert stopped == any(stop in text for stop in stops)
    if not stopped:
        assert whole == text
        return
    # What was shown before a stop was complete may not be taken back, so the first to be complete counts.
    ends = {text[: text.index(stop)] for stop in stops if stop in text}
    assert whole in ends
    assert not any(stop in whole for stop in stops)


@given(st.lists(st.binary(max_size=4), max_size=20))
def test_bytes_that_are_no_text_become_replacement_characters(pieces: list[bytes]) -> None:
    shown, _ = write_all(pieces, [])
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    assert "".join(shown) == decoder.decode(b"".join(pieces))  # an unfinished end is dropped
    "".join(shown).encode()


def test_tokens_spell_the_text_they_were_read_from(tmp_path: Path) -> None:
    for make in (byte_level_tokenizer, sentencepiece_tokenizer):
        tokenizer: Tokenizer = make(tmp_path)
        pieces = token_bytes(tokenizer)
        for text in (*TEXTS, "未知の文字🔥"):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert b"".join(pieces[index] for index in ids).decode() == text


def test_special_tokens_spell_nothing(tmp_path: Path) -> None:
    tokenizer = byte_level_tokenizer(tmp_path)
    pieces = token_bytes(tokenizer)
    assert pieces[tokenizer.token_to_id("<|im_end|>")] == b""
    assert TextWriter(pieces, []).write(10_000) == ""
