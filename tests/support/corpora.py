"""A small corpus with a tokenizer trained on it, and models to train on it."""

from __future__ import annotations

from pathlib import Path

from kajiya.corpus.build import Corpus, build_corpus
from kajiya.corpus.document import Document
from kajiya.models.creating import Architecture, create_model
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.train import train_tokenizer

_WORDS = (
    "吾輩は",
    "猫",
    "である。",
    "名前は",
    "まだ",
    "無い。",
    "どこで",
    "生れたか",
    "とんと",
    "見当が",
    "つかぬ。",
)


def documents(number: int = 40) -> list[Document]:
    """Texts of different lengths that repeat a few words in changing order."""
    return [
        Document(
            id=str(i),
            text="".join(_WORDS[(i * k + k * k) % len(_WORDS)] for k in range(5 + 7 * (i % 9)))
            + "\n",
            group=f"work {i // 2}",
            title=f"work {i // 2}",
        )
        for i in range(number)
    ]


def make_tokenizer(folder: Path) -> ChatTokenizer:
    """A vocabulary of 320, in `folder`."""
    train_tokenizer((document.text for document in documents()), 320, folder)
    return ChatTokenizer.load(folder)


def make_corpus(folder: Path) -> Corpus:
    """`documents()` as a corpus in `folder/corpus`, its tokenizer in `folder`."""
    tokenizer = make_tokenizer(folder)
    return build_corpus(documents(), tokenizer, folder / "corpus", held_out_size=2000)


def make_model(arch: Architecture, tokenizer: Path, folder: Path) -> Path:
    """A new model of 2 layers, 64 wide."""
    create_model(arch, "2x64", tokenizer, folder)
    return folder
