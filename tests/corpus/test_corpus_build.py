from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import ConfigError, DataError, FormatError
from kajiya.corpus.build import MANIFEST, Corpus, build_corpus
from kajiya.corpus.document import Document
from kajiya.tokenizer.chat import ChatTokenizer
from support.corpora import documents, make_corpus, make_tokenizer


def test_every_document_begins_with_the_end_of_text(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    tokenizer = ChatTokenizer.load(tmp_path)
    shard = corpus.shards
    assert corpus.documents == len(shard) == len(documents())
    for index, document in enumerate(documents()):
        ids = shard[index].tolist()
        assert ids[0] == tokenizer.eos_id
        assert tokenizer.decode(ids[1:], skip_special=False) == document.text
    assert corpus.tokens == shard.tokens
    assert corpus.size == sum(len(document.text.encode()) for document in documents())


def test_works_are_held_out_whole(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    groups = [document.group for document in documents()]
    held_out = {groups[i] for i in corpus.held_out}
    assert held_out
    assert held_out.isdisjoint(groups[i] for i in corpus.trained)
    assert sorted([*corpus.held_out, *corpus.trained.tolist()]) == list(range(corpus.documents))
    sizes = [len(documents()[i].text.encode()) for i in corpus.held_out]
    assert corpus.held_out_size == sum(sizes) <= 0.05 * corpus.size * 2
    assert len(corpus.held_out_titles) == len(corpus.held_out)


def test_it_can_be_opened_again_and_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    corpus = make_corpus(tmp_path / "a")
    assert Corpus.open(corpus.folder) == corpus
    again = build_corpus(
        documents(), ChatTokenizer.load(tmp_path / "a"), tmp_path / "b", held_out_size=2000
    )
    assert (again.sha256, again.held_out) == (corpus.sha256, corpus.held_out)
    (corpus.folder / MANIFEST).write_text("{}", "utf-8")
    with pytest.raises(FormatError):
        Corpus.open(corpus.folder)


def test_a_single_work_is_not_held_out(tmp_path: Path) -> None:
    editions = [Document(str(i), "吾輩は猫である。\n", group="same") for i in range(3)]
    corpus = build_corpus(editions, make_tokenizer(tmp_path), tmp_path / "corpus")
    assert corpus.held_out == ()


def test_special_tokens_in_a_text_stay_text(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path)
    texts = [Document(str(i), f"あ<|endoftext|>い{i}\n", group=str(i)) for i in range(2)]
    corpus = build_corpus(texts, tokenizer, tmp_path / "corpus")
    assert all(corpus.shards[i].tolist().count(0) == 1 for i in range(2))


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path)

    def stop(done: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        build_corpus(documents(), tokenizer, tmp_path / "corpus", tell=stop)
    with pytest.raises(DataError, match="no text"):
        build_corpus([], tokenizer, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    tokenizer.eos_id = None
    with pytest.raises(ConfigError, match="end-of-text"):
        build_corpus(documents(), tokenizer, tmp_path / "corpus")
