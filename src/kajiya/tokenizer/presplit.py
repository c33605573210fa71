"""Cuts Japanese into words with Sudachi, before a vocabulary is learnt; never when text is encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kajiya.core.errors import ResourceError
from kajiya.core.language import tr

MARK = "\x1f"  # between words, in what SentencePiece reads


def cut_into_words(sentences: Iterable[str]) -> Iterator[list[str]]:
    """The words of each sentence, in the longest units that Sudachi knows.

    Raises `ResourceError` where Sudachi is not installed.
    """
    try:
        from sudachipy import Dictionary, SplitMode

        tokenizer = Dictionary(dict="small").tokenizer(mode=SplitMode.C)
    except ImportError:
        raise ResourceError(
            tr("Sudachi is not installed", "Sudachi が入っていません"),
            where="--presplit sudachi",
            fix="pip install 'kajiya[sudachi]'",
        ) from None
    for sentence in sentences:
        yield [word.surface() for word in tokenizer.tokenize(sentence.replace(MARK, ""))]
