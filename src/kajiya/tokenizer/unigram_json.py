"""A SentencePiece Unigram vocabulary in the ecosystem's format: `tokenizer.json` that gives the same ids."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import Unigram

from kajiya.tokenizer.sentencepiece_model import CONTROL, NORMAL, SPACE, UNKNOWN, ModelPiece

# SentencePiece never matches bytes and control pieces in a text. Here they are pieces like others, so
# they get a score that no way to write a text by its characters is as bad as.
_NEVER = -1e6


def unigram_tokenizer(pieces: Sequence[ModelPiece]) -> Tokenizer:
    """The tokenizer of a vocabulary with byte fallback, identity normalisation and no space put first.

    Its ids are SentencePiece's, except for texts of many thousand characters without a sentence's
    end, where SentencePiece's sums of scores in 32 bits may round. Every character of every piece
    has to be a piece.
    """
    unknown = next(index for index, piece in enumerate(pieces) if piece.kind == UNKNOWN)
    tokenizer = Tokenizer(
        Unigram(
            [(p.text, float(p.score) if p.kind == NORMAL else _NEVER) for p in pieces],
            unk_id=unknown,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = [piece.text for piece in pieces if piece.kind in (CONTROL, UNKNOWN)]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    return tokenizer
