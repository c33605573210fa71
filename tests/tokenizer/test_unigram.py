"""Unigram vocabularies: what is in them, and the same ids in both of their files."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from kajiya.core.errors import ConfigError, DataError, ResourceError
from kajiya.tokenizer.batch import MODEL_FILE
from kajiya.tokenizer.chat import ChatTokenizer, Message
from kajiya.tokenizer.sample import Sample, sample_sentences
from kajiya.tokenizer.settings import TokenizerConfig
from kajiya.tokenizer.unigram import train_unigram
from support.japanese import japanese_texts

TERMS = ["鍛冶屋の弟子", "GPU メモリ", "齉", "強化学習2025年", "モーニング娘。"]
CONFIG = TokenizerConfig(vocab_size=2000, longest_japanese=5, longest=12)


def sample() -> Sample:
    return sample_sentences(japanese_texts(), 10**6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("unigram")
    train_unigram(sample(), made, CONFIG, TERMS)
    return made


@pytest.fixture(scope="module")
def ours(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / MODEL_FILE))


def same(ours: ChatTokenizer, theirs: sentencepiece.SentencePieceProcessor, text: str) -> None:
    ids = ours.encode(text)
    assert ids == theirs.encode(text)
    assert ours.encode_texts([text]) == [ids]
    if "▁" not in text:  # SentencePiece's sign for a space, which it reads back as one
        assert ours.decode(ids) == text


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_sentencepieces_ids(
    ours: ChatTokenizer, theirs: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    same(ours, theirs, text)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *("。", "\n", " ", "  ", "は", "日本語", "モデル", "学習", "12", "<0xE3>", "<unk>"),
                *("<|endoftext|>", "▁", "🔥", "齉龘", "kajiya", "\t", "\x00", "　", "㍿", *TERMS),
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_awkward_texts_give_sentencepieces_ids(
    ours: ChatTokenizer, theirs: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    same(ours, theirs, text)


def test_whole_pages_give_sentencepieces_ids(
    ours: ChatTokenizer, theirs: sentencepiece.SentencePieceProcessor
) -> None:
    for text in japanese_texts():
        assert ours.encode_texts([text]) == [ours.encode(text)]
        for line in text.splitlines(keepends=True):
            same(ours, theirs, line)


def test_many_texts_at_once_and_one_without_an_end(ours: ChatTokenizer) -> None:
    endless = "日本語のモデルを学習する" * 1000
    texts = [*japanese_texts(), endless, "", "。", "短い。" + endless]
    assert ours.encode_texts(texts) == [ours.encode(text) for text in texts]


def test_the_vocabulary_is_as_wanted(folder: Path) -> None:
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    assert len(vocabulary) == CONFIG.vocab_size
    learnt = set(vocabulary) - {term.replace(" ", "▁") for term in TERMS}
    text = {piece for piece in learnt if not piece.startswith("<")}
    japanese = [piece for piece in text if re.search("[ぁ-ヿ一-龥]", piece)]
    assert max(map(len, japanese)) <= CONFIG.longest_japanese
    assert CONFIG.longest_japanese < max(map(len, text)) <= CONFIG.longest
    assert not [piece for piece in text if re.fullmatch(r"[0-9]{2,}", piece)]
    assert not [piece for piece in vocabulary if "。" in piece[:-1]]
    assert all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    assert all(chr(letter) in vocabulary for letter in range(0x21, 0x7F))


def test_each_term_is_one_token(
    ours: ChatTokenizer, theirs: sentencepiece.SentencePieceProcessor
) -> None:
    assert [len(ours.encode(term)) for term in TERMS] == [1] * len(TERMS)
    assert theirs.encode("これは鍛冶屋の弟子です", out_type=str).count("鍛冶屋の弟子") == 1


def test_special_tokens_in_a_text_are_text(ours: ChatTokenizer) -> None:
    assert ours.eos_id == 0
    assert 0 not in ours.encode("<|endoftext|>")
    assert ours.encode_texts(["<|endoftext|>"]) == [ours.encode("<|endoftext|>")]
    chat = ours.encode_chat([Message("user", "鍛冶屋とは")])
    assert ours.decode(chat) == "問：鍛冶屋とは\n答："


def test_transformers_reads_the_same(folder: Path, ours: ChatTokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    for text in japanese_texts():
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ids == ours.encode(text)
        assert theirs.decode(ids) == text


def test_training_again_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    train_unigram(sample(), tmp_path, CONFIG, TERMS)
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_it_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    config = CONFIG.model_copy(update={"vocab_size": 1900})
    train_unigram(sample(), tmp_path, config, (), lambda *event: told.append(event))
    training = [(done, total) for stage, done, total in told if stage == "train"]
    assert len(training) > 1
    assert all(total > 0 for _, total in training)
    assert training == sorted(training)


def test_a_vocabulary_smaller_than_the_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vocab_size"):
        train_unigram(sample(), tmp_path, TokenizerConfig(vocab_size=300))
    assert list(tmp_path.iterdir()) == []


def test_terms_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    terms = [f"用語その{number}" for number in range(3000)]
    with pytest.raises(ConfigError, match="choose"):
        train_unigram(sample(), tmp_path, CONFIG, terms)
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_said_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(available=60 * 1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(ResourceError, match="--sample-characters 1000"):
        train_unigram(sample(), tmp_path, CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train_unigram(Sample(["\n", " \n"], 3, 3), tmp_path, CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_words_are_kept_apart_with_sudachi(tmp_path: Path) -> None:
    pytest.importorskip(
        "sudachipy", reason="Sudachi is not installed: pip install 'kajiya[sudachi]'"
    )
    from kajiya.tokenizer.presplit import cut_into_words

    config = CONFIG.model_copy(update={"presplit": "sudachi", "vocab_size": 1900})
    tokenizer = train_unigram(sample(), tmp_path, config)
    words = {
        word
        for several in cut_into_words(s.rstrip("\n") for s in sample().sentences)
        for word in several
    }
    learnt = [p for p in tokenizer.get_vocab() if re.fullmatch("[ぁ-ヿ一-龥]{2,}", p)]
    inside = [piece for piece in learnt if any(piece in word for word in words)]
    assert learnt
    assert inside == learnt
