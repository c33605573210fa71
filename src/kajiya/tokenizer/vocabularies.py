"""Any tokenizer, opened to be compared with others: how it reads texts, and the bytes of its tokens.

For reading only; special tokens written in a text stay text. Conversations are the business of `chat`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.language import tr
from kajiya.tokenizer.openai_vocabularies import openai_encoding
from kajiya.tokenizer.sentencepiece_model import (
    BYTE,
    NORMAL,
    SPACE,
    USER_DEFINED,
    ModelPiece,
    read_model,
)
from kajiya.tokenizer.token_bytes import token_bytes
from kajiya.tokenizer.world import world_tokenizer

WORLD, OPENAI = "world", "tiktoken:"
_MODELS = ("*.model", "*.spm")


@dataclass(frozen=True)
class Vocabulary:
    """`encode` gives token ids of texts; `tokens` are bytes by id, empty for what is no text.

    `unknown` are the ids that stand for text which the vocabulary cannot write.
    """

    name: str
    tokens: Sequence[bytes]
    encode: Callable[[Sequence[str]], list[list[int]]]
    unknown: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        """Tokens that there are, special ones included."""
        return len(self.tokens)


def open_vocabulary(source: str, name: str = "") -> Vocabulary:
    """A vocabulary by what it is: `world`, `tiktoken:NAME`, or the path of a `tokenizer.json`, of a
    SentencePiece `.model`, or of a folder with either.

    Raises `NotFoundError` if there is none, `FormatError` for one that cannot be read.
    """
    name = name or source
    if source == WORLD:
        return _from_tokenizer(world_tokenizer(), name)
    if source.startswith(OPENAI):
        return _from_openai(source.removeprefix(OPENAI), name)
    path = Path(source).expanduser()
    if path.is_dir():
        files = [path / "tokenizer.json", *(f for m in _MODELS for f in sorted(path.glob(m)))]
        path = next((file for file in files if file.is_file()), path)
    if not path.is_file():
        raise NotFoundError(
            tr("there is no tokenizer", "トークナイザがありません"),
            where=source,
            fix=tr(
                "give world, tiktoken:o200k_base, a name, tokenizer.json, a .model file, or a folder",
                "world、tiktoken:o200k_base、名前、tokenizer.json、.model ファイル、フォルダのどれかを指定してください",
            ),
        )
    try:
        if path.suffix == ".json":
            return _from_tokenizer(Tokenizer.from_file(str(path)), name)
        return _from_sentencepiece(path.read_bytes(), name)
    except FormatError as error:
        raise FormatError(error.message, where=str(path)) from None
    except Exception as error:  # the libraries raise plain Exception and RuntimeError
        raise FormatError(
            tr(f"the file cannot be read: {error}", f"ファイルを読めません: {error}"),
            where=str(path),
        ) from None


def _from_tokenizer(tokenizer: Tokenizer, name: str) -> Vocabulary:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True

    def encode(texts: Sequence[str]) -> list[list[int]]:
        found = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    unknown = tokenizer.token_to_id("<unk>")
    ids = frozenset[int]() if unknown is None else frozenset([unknown])
    return Vocabulary(name, token_bytes(tokenizer), encode, ids)


def _from_sentencepiece(data: bytes, name: str) -> Vocabulary:
    import sentencepiece

    pieces, _ = read_model(data)
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = processor.encode(list(texts))
        return ids

    unknown = frozenset([processor.unk_id()])
    return Vocabulary(name, [_bytes(piece) for piece in pieces], encode, unknown)


def _bytes(piece: ModelPiece) -> bytes:
    if piece.kind == BYTE:
        return bytes([int(piece.text[3:5], 16)])
    return piece.text.replace(SPACE, " ").encode() if piece.kind in (NORMAL, USER_DEFINED) else b""


def _from_openai(encoding_name: str, name: str) -> Vocabulary:
    encoding = openai_encoding(encoding_name)
    tokens = [b""] * encoding.n_vocab
    for token in encoding.token_byte_values():
        tokens[encoding.encode_single_token(token)] = token

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.encode_ordinary(text) for text in texts]

    return Vocabulary(name, tokens, encode)
