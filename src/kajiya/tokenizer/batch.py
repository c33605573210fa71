"""Many texts to token ids, as fast as it goes, and the same ids as one by one.

Where a folder holds the SentencePiece model that its tokenizer was made from, SentencePiece reads the
texts, some three times as fast. Greedy vocabularies (World) are read by a compiled loop, some ten times
as fast. Everything else goes through `tokenizers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from kajiya.core.errors import FormatError
from kajiya.tokenizer.greedy import greedy_vocabulary
from kajiya.tokenizer.sentencepiece_model import NORMAL, read_model
from kajiya.tokenizer.unigram_json import unigram_tokenizer

Encode = Callable[[Sequence[str]], list[list[int]]]
MODEL_FILE = "tokenizer.model"
_ENDS = "。\n"  # nothing follows them in any piece, so a text may be cut after them
_EXACT = 2000  # characters at a time: SentencePiece sums scores in 32 bits, exact up to here


def batch_encoder(folder: Path, tokenizer: Tokenizer) -> Encode:
    """The fastest exact way to encode texts by `tokenizer`, which may come from `folder`; special
    tokens that are written in a text are text."""

    def by_tokenizers(texts: Sequence[str]) -> list[list[int]]:
        found = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    model = folder / MODEL_FILE
    if model.is_file() and _belongs(model, tokenizer):
        return _by_sentencepiece(model, by_tokenizers)
    greedy = greedy_vocabulary(json.loads(tokenizer.to_str()))
    if greedy is not None:
        from kajiya.tokenizer.greedy_loop import GreedyReader

        return GreedyReader(greedy).read_all
    return by_tokenizers


def _by_sentencepiece(model: Path, by_tokenizers: Encode) -> Encode:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def encode(texts: Sequence[str]) -> list[list[int]]:
        parts = [list(_parts(text)) for text in texts]
        ids = iter(processor.encode([part for several in parts for part in several]))
        read = [list(chain.from_iterable(islice(ids, len(several)))) for several in parts]
        long = [i for i, several in enumerate(parts) if any(len(p) > _EXACT for p in several)]
        for i, found in zip(long, by_tokenizers([texts[i] for i in long]), strict=True):
            read[i] = found
        return read

    return encode


def _belongs(model: Path, tokenizer: Tokenizer) -> bool:
    """Whether `tokenizer` is what is made from `model`: compared, not taken on trust."""
    try:
        pieces, _ = read_model(model.read_bytes())
        made = json.loads(unigram_tokenizer(pieces).to_str())
    except (FormatError, OSError, StopIteration):
        return False
    goes_on = any(set(_ENDS) & set(p.text[:-1]) for p in pieces if p.kind == NORMAL)
    return not goes_on and _meant(made) == _meant(json.loads(tokenizer.to_str()))


def _meant(definition: dict[str, Any]) -> dict[str, Any]:
    return {
        key: definition[key] for key in ("normalizer", "pre_tokenizer", "model", "added_tokens")
    }


def _parts(text: str) -> Iterator[str]:
    """`text`, cut after sentences into parts of at most `_EXACT` characters where it can be."""
    start = 0
    while len(text) - start > _EXACT:
        end = 1 + max(text.rfind(mark, start, start + _EXACT) for mark in _ENDS)
        if not end:
            break
        yield text[start:end]
        start = end
    yield text[start:]
