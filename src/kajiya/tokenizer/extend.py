"""Adds tokens to a byte-level BPE tokenizer by going on with its merges, so that each can be produced.

The texts are read by the old merges; what they leave is merged further, most frequent pair first, as
if the first training had gone on with these texts. Old ids stay as they are. Tokens appended without
merges would never come out of a text; here every new token is tried on its own string.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from kajiya.core.errors import ConfigError, DataError, FormatError, NotFoundError
from kajiya.core.language import tr
from kajiya.tokenizer.greedy import alphabet_bytes

_SPARE = 1.05  # merges learnt for each token wanted: some make a token that there is already
_FIRST = 0x10000  # the character that stands for token 0 while merges are learnt
_LONGEST = 24  # old tokens in a new one: 8 to 12 characters of Japanese
_AT_ONCE = 1000  # words handed over at a time
_Merge = tuple[str, str]


@dataclass(frozen=True)
class Extension:
    """A tokenizer with new tokens, whose ids are `first` and those after it.

    `dropped` were learnt but could not be produced from their own string.
    """

    tokenizer: Tokenizer
    first: int
    added: int
    dropped: int


def extend_bpe(tokenizer: Tokenizer, sentences: Sequence[str], count: int) -> Extension:
    """`tokenizer` with at most `count` tokens more, learnt from `sentences`.

    Raises `FormatError` for a tokenizer that is not byte-level BPE, `DataError` if the text holds
    nothing to merge, `ConfigError` for a `count` below 1.
    """
    if count < 1:
        raise ConfigError(
            tr("at least one token has to be added", "1 個以上を指定してください"), where="count"
        )
    definition = json.loads(tokenizer.to_str())
    check_byte_level(definition)
    vocabulary: dict[str, int] = definition["model"]["vocab"]
    learnt = _learn(tokenizer, sentences, vocabulary, count)
    first = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    kept, dropped = _reachable(definition, learnt, first, count)
    if not kept:
        raise DataError(
            tr(
                "the text holds nothing that could be merged",
                "まとめられる文字列が文書にありません",
            )
        )
    made = _with_merges(definition, kept, first)
    return Extension(made, first, len(_new_pieces(kept, vocabulary)), dropped)


def read_byte_level(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, or a `tokenizer.json`, if it can be extended.

    Raises `NotFoundError` without one, `FormatError` for one of another kind.
    """
    path = folder / "tokenizer.json" if folder.is_dir() else folder
    if not path.is_file():
        raise NotFoundError(
            tr("there is no tokenizer.json", "tokenizer.json がありません"), where=str(folder)
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
        check_byte_level(json.loads(tokenizer.to_str()))
    except FormatError as error:
        raise FormatError(error.message, where=str(path), fix=error.fix) from None
    except Exception as error:  # the library raises plain Exception
        raise FormatError(
            tr(f"the file cannot be read: {error}", f"ファイルを読めません: {error}"),
            where=str(path),
        ) from None
    return tokenizer


def check_byte_level(definition: dict[str, Any]) -> None:
    """Raise `FormatError` unless a `tokenizer.json` is plain byte-level BPE, as GPT-2's."""
    model, parts = definition["model"], json.dumps(definition["pre_tokenizer"])
    plain = (
        model["type"] == "BPE"
        and '"ByteLevel"' in parts
        and not any(
            model.get(key)
            for key in (
                "byte_fallback",
                "continuing_subword_prefix",
                "end_of_word_suffix",
                "dropout",
            )
        )
    )
    if not plain:
        raise FormatError(
            tr(
                f"only byte-level BPE can be extended, and this is {model['type']}"
                + (" with byte fallback" if model.get("byte_fallback") else ""),
                f"語彙を拡張できるのはバイト単位の BPE だけです (これは {model['type']})",
            ),
            where="tokenizer.json",
            fix=tr(
                "train a new tokenizer instead: kajiya tokenizer train",
                "新しく学習してください: kajiya tokenizer train",
            ),
        )


def _learn(
    tokenizer: Tokenizer, sentences: Sequence[str], vocabulary: dict[str, int], count: int
) -> list[_Merge]:
    """The merges to go on with, in order, as pairs of pieces.

    Each old token stands as one character, so that the trainer begins where the old merges end.
    """
    learner = Tokenizer(BPE())
    alphabet = 1 + max(vocabulary.values())
    trainer = BpeTrainer(
        vocab_size=alphabet + round(count * _SPARE) + 1,
        min_frequency=2,
        initial_alphabet=[chr(_FIRST + index) for index in range(alphabet)],
        max_token_length=_LONGEST,
        show_progress=False,
    )
    learner.train_from_iterator(_words(tokenizer, sentences), trainer)
    piece_of = {index: piece for piece, index in vocabulary.items()}

    def spell(characters: str) -> str:
        return "".join(piece_of[ord(character) - _FIRST] for character in characters)

    merges = json.loads(learner.to_str())["model"]["merges"]
    return [(spell(left), spell(right)) for left, right in merges]


def _words(tokenizer: Tokenizer, sentences: Sequence[str]) -> Iterator[list[str]]:
    """The words that merges stay within, a character for each old token; many at a time."""
    known: dict[str, str] = {}
    ready: list[str] = []
    for sentence in sentences:
        text = tokenizer.normalizer.normalize_str(sentence) if tokenizer.normalizer else sentence
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
            if word not in known:
                tokens = tokenizer.model.tokenize(word)
                known[word] = "".join(chr(_FIRST + token.id) for token in tokens)
            ready.append(known[word])
        if len(ready) >= _AT_ONCE:
            yield ready
            ready = []
    yield ready


def _reachable(
    definition: dict[str, Any], merges: list[_Merge], first: int, count: int
) -> tuple[list[_Merge], int]:
    """Merges for at most `count` new pieces that all come out of their own string, and how many others
    did not. A piece that does not takes with it those made from it."""
    vocabulary = definition["model"]["vocab"]
    dropped: set[str] = set()
    while True:
        kept = _whole(merges, set(vocabulary), dropped, count)
        made = _with_merges(definition, kept, first)
        lost = {piece for piece in _new_pieces(kept, vocabulary) if not _comes_out(made, piece)}
        if not lost:
            return kept, len(dropped)
        dropped |= lost


def _whole(merges: list[_Merge], known: set[str], dropped: set[str], count: int) -> list[_Merge]:
    """The merges whose parts are there, up to the one that would make a piece too many."""
    kept: list[_Merge] = []
    room = count
    for left, right in merges:
        piece = left + right
        if piece in dropped or left not in known or right not in known:
            continue
        if piece not in known:
            if not room:
                break
            room -= 1
            known.add(piece)
        kept.append((left, right))
    return kept


def _new_pieces(merges: list[_Merge], vocabulary: dict[str, int]) -> list[str]:
    pieces = dict.fromkeys(left + right for left, right in merges)
    return [piece for piece in pieces if piece not in vocabulary]


def _with_merges(definition: dict[str, Any], merges: list[_Merge], first: int) -> Tokenizer:
    """The tokenizer with these merges after its own, and ids for their new pieces."""
    model = definition["model"]
    new = _new_pieces(merges, model["vocab"])
    vocabulary = model["vocab"] | {piece: first + number for number, piece in enumerate(new)}
    pairs = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    extended = {**model, "vocab": vocabulary, "merges": [*pairs, *merges]}
    return Tokenizer.from_str(json.dumps({**definition, "model": extended}))


def _comes_out(tokenizer: Tokenizer, piece: str) -> bool:
    """Whether the merges make `piece` of its own string, and the whole tokenizer too where the string
    is text and not part of a character."""
    index = tokenizer.token_to_id(piece)
    if [token.id for token in tokenizer.model.tokenize(piece)] != [index]:
        return False
    byte_of = alphabet_bytes()
    try:
        text = bytes(byte_of[character] for character in piece).decode()
    except UnicodeDecodeError:
        return True
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found == [index]


def old_pieces(old: Tokenizer, new: Tokenizer) -> dict[int, list[int]]:
    """For each id of `new` that `old` does not have: the ids by which `old` writes the same string.

    Raises `FormatError` unless `new` is `old` with more tokens, byte-level BPE both.
    """
    for tokenizer in (old, new):
        check_byte_level(json.loads(tokenizer.to_str()))
    before = old.get_vocab(with_added_tokens=True)
    after = new.get_vocab(with_added_tokens=True)
    if not before.items() <= after.items():
        raise FormatError(
            tr(
                "the new tokenizer does not keep the old one's ids",
                "新しいトークナイザで元の ID が変わっています",
            ),
            fix=tr(
                "extend the model's own tokenizer: kajiya tokenizer extend",
                "モデル自身のトークナイザを拡張してください: kajiya tokenizer extend",
            ),
        )
    return {
        index: [token.id for token in old.model.tokenize(piece)]
        for piece, index in after.items()
        if piece not in before
    }
