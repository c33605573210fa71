"""The bytes that each token of a vocabulary stands for.

A token may be part of a character, so text is put together from bytes, not from decoded tokens.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tokenizers import Tokenizer

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.tokenizer.greedy import alphabet_bytes

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """Bytes by token id; empty for special tokens and for ids without a token.

    Reads byte-level vocabularies (GPT-2's alphabet, World) and those with byte fallback
    (SentencePiece's). Raises `FormatError` for a decoder of another kind.
    """
    decoder = json.loads(tokenizer.to_str())["decoder"]
    kinds = {part["type"]: part for part in (decoder or {}).get("decoders", [decoder]) if part}
    added = tokenizer.get_added_tokens_decoder()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    result = [b""] * (max(vocabulary.values(), default=-1) + 1)
    byte_of = alphabet_bytes()
    for piece, index in vocabulary.items():
        if index in added:
            result[index] = b"" if added[index].special else piece.encode()
        elif "ByteLevel" in kinds:
            result[index] = bytes(byte_of[character] for character in piece)
        elif {"Metaspace", "Replace", "ByteFallback"} & kinds.keys():
            single = _BYTE.fullmatch(piece) if "ByteFallback" in kinds else None
            result[index] = bytes([int(single[1], 16)]) if single else _spaced(piece, kinds)
        else:
            raise FormatError(
                tr(
                    f"this tokenizer's decoder is not known: {sorted(kinds)}",
                    f"このトークナイザーの復号方法には対応していません: {sorted(kinds)}",
                ),
                where="tokenizer.json",
            )
    return result


def _spaced(piece: str, kinds: dict[str, Any]) -> bytes:
    """SentencePiece writes a space as ▁, or as its decoder's replacement says."""
    mark, space = "▁", " "
    if "Replace" in kinds:
        mark = kinds["Replace"]["pattern"].get("String", mark)
        space = kinds["Replace"]["content"]
    return piece.replace(mark, space).encode()
