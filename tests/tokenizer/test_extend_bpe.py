"""More tokens for a byte-level BPE tokenizer: all of them reachable, the old ids untouched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE

from kajiya.core.errors import ConfigError, DataError, FormatError, NotFoundError
from kajiya.tokenizer.extend import Extension, extend_bpe, old_pieces, read_byte_level
from kajiya.tokenizer.sample import sample_sentences, sentences
from kajiya.tokenizer.token_bytes import token_bytes
from kajiya.tokenizer.train import train_tokenizer
from support.japanese import japanese_texts

ENGLISH = ["The quick brown fox jumps over the lazy dog. It was not the dog that jumped.\n"] * 20


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """English, and not a merge of Japanese."""
    return train_tokenizer(ENGLISH, 340, tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def extension(old: Tokenizer) -> Extension:
    return extend_bpe(old, sample_sentences(japanese_texts(), 10**6).sentences, 800)


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def test_old_ids_stay_and_new_ones_follow(old: Tokenizer, extension: Extension) -> None:
    before, after = old.get_vocab(), extension.tokenizer.get_vocab()
    assert extension.added == 800
    assert before.items() <= after.items()
    new = sorted(after[piece] for piece in after.keys() - before.keys())
    assert new == list(range(extension.first, extension.first + 800))
    assert extension.first == old.get_vocab_size()


def test_every_new_token_comes_out_of_its_own_string(extension: Extension) -> None:
    tokens = token_bytes(extension.tokenizer)
    pieces = {index: piece for piece, index in extension.tokenizer.get_vocab().items()}
    whole = 0
    for index in range(extension.first, extension.first + extension.added):
        assert [t.id for t in extension.tokenizer.model.tokenize(pieces[index])] == [index]
        try:
            text = tokens[index].decode()
        except UnicodeDecodeError:
            continue
        assert ids(extension.tokenizer, text) == [index]
        whole += 1
    assert whole > 500


def test_the_text_takes_fewer_tokens(old: Tokenizer, extension: Extension) -> None:
    for text in japanese_texts():
        assert len(ids(extension.tokenizer, text)) < 0.7 * len(ids(old, text))


def test_english_is_read_as_before(old: Tokenizer, extension: Extension) -> None:
    assert ids(extension.tokenizer, ENGLISH[0]) == ids(old, ENGLISH[0])


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_round_trips(extension: Extension, text: str) -> None:
    assert extension.tokenizer.decode(ids(extension.tokenizer, text)) == text


def test_it_is_the_training_gone_on_with(tmp_path: Path) -> None:
    """A training stopped early and extended by the same text makes the tokens of one that was not.

    Where pairs are equally frequent the two may choose differently, so not quite all.
    """
    parts = [part for text in japanese_texts() for part in sentences(text)]
    whole = train_tokenizer(parts, 700, tmp_path / "whole")
    half = train_tokenizer(parts, 500, tmp_path / "half")
    extended = extend_bpe(half, parts, 200).tokenizer
    assert len(whole.get_vocab().keys() & extended.get_vocab().keys()) > 670


def test_new_tokens_by_old_ones(old: Tokenizer, extension: Extension) -> None:
    parts = old_pieces(old, extension.tokenizer)
    before, after = token_bytes(old), token_bytes(extension.tokenizer)
    assert len(parts) == extension.added
    for index, several in parts.items():
        assert b"".join(before[part] for part in several) == after[index]
        assert len(several) > 1


def test_another_tokenizer_is_no_extension(old: Tokenizer, tmp_path: Path) -> None:
    other = train_tokenizer(japanese_texts(), 400, tmp_path)
    with pytest.raises(FormatError, match="keep"):
        old_pieces(old, other)


def test_merges_that_make_an_old_token_again() -> None:
    """`abc` was learnt as `ab`+`c` and never comes out, since `b`+`c` goes first; now it does."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(alphabet)}
    vocabulary |= {"bc": 256, "ab": 257, "abc": 258}
    merges = [("b", "c"), ("a", "b"), ("ab", "c")]
    old = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    old.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert len(ids(old, "abc")) == 2
    found = extend_bpe(old, ["abcd", "abcd", "abce", "abce"], 2)
    assert (found.first, found.added, found.dropped) == (259, 2, 0)
    assert ids(found.tokenizer, "abc") == [258]
    assert sorted(ids(found.tokenizer, "abcd") + ids(found.tokenizer, "abce")) == [259, 260]


def test_nothing_to_merge(old: Tokenizer) -> None:
    with pytest.raises(DataError):
        extend_bpe(old, ["x"], 10)
    with pytest.raises(ConfigError):
        extend_bpe(old, ["x"], 0)


def test_other_kinds_are_refused(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="byte fallback"):
        read_byte_level(make_folder("sentencepiece"))
    with pytest.raises(NotFoundError):
        read_byte_level(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(FormatError, match="cannot be read"):
        read_byte_level(tmp_path)
