from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from kajiya.core.errors import ConfigError
from kajiya.tokenizer.chat import ChatTokenizer, Message
from kajiya.tokenizer.train import END, train_tokenizer

TEXTS = ["吾輩は猫である。名前はまだ無い。\n" * 5, "「何でもない。」と猫は言った。1906年。\n" * 5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, 400, path)
    return path


@pytest.fixture(scope="module")
def chat(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)


@given(st.text(max_size=40))
def test_any_text_round_trips(chat: ChatTokenizer, text: str) -> None:
    assert chat.decode(chat.encode(text)) == text


def test_text_that_was_learnt_takes_few_tokens(chat: ChatTokenizer) -> None:
    assert len(chat.encode(TEXTS[0])) < len(TEXTS[0].encode()) / 6


def test_punctuation_newlines_and_digits_stand_alone(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode("猫である。\n名前は1906年").ids]
    assert "。" in pieces
    assert "\n" in pieces
    assert [piece for piece in pieces if piece.isdigit()] == ["1", "9", "0", "6"]


def test_special_tokens_in_text_stay_text(chat: ChatTokenizer) -> None:
    assert chat.eos_id == chat.bos_id == chat.pad_id == 0
    ids = chat.encode(f"あ{END}い")
    assert 0 not in ids
    assert chat.decode(ids) == f"あ{END}い"


def test_conversations(chat: ChatTokenizer) -> None:
    messages = [Message("user", "猫ですか"), Message("assistant", "猫である。")]
    ids, trained = chat.encode_training(messages)
    prompt = chat.encode_chat(messages[:1])
    assert ids[: len(prompt)] == prompt
    assert trained == [False] * len(prompt) + [True] * (len(ids) - len(prompt))
    assert ids[0] == ids[-1] == 0
    assert chat.stop_ids == {0}
    assert chat.decode(ids) == "問：猫ですか\n答：猫である。"


def test_transformers_reads_it_alike(folder: Path, chat: ChatTokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs(TEXTS[1])["input_ids"] == chat.encode(TEXTS[1])
    assert theirs.eos_token_id == 0


def test_too_small_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="257"):
        train_tokenizer(TEXTS, 256, tmp_path)
