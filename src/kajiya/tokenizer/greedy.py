"""Tokenizers that take, at each byte, the longest vocabulary entry that fits, as `tokenizer.json`.

The ecosystem's format has no such model, but it can be said exactly in it. A pre-tokenizer cuts the
text by a regular expression that is the vocabulary's trie, so every cut is where the greedy reading
cuts; `WordPiece`, which itself takes the longest entry first, then names the tokens of each cut. Work
is linear in the text, whatever the text. Both steps see bytes in the ByteLevel alphabet (one printable
character a byte), so tokens may be parts of characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordPiece

from kajiya.core.errors import FormatError
from kajiya.core.language import tr

# Tokens in one cut. A cut costs as much as several tokens, but looking tokens up inside one costs the
# square of its length; measured on Japanese and English text, 2 to 4 are fastest.
_TOKENS_A_CUT = 3
_WIDTH = 4  # alternatives side by side, which are tried one after another; measured, too
_SPECIAL = frozenset(r"\^$.|?*+()[]{}-&~#/")
_Trie = dict[str, Any]  # character → trie; the key "" marks the end of an entry


def byte_alphabet() -> list[str]:
    """The character that stands for each byte 0…255 in byte-level vocabularies (as GPT-2 chose them)."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(b if b in shown else 256 + hidden.index(b)) for b in range(256)]


def alphabet_bytes() -> dict[str, int]:
    """The byte that each character of `byte_alphabet` stands for."""
    return {character: byte for byte, character in enumerate(byte_alphabet())}


def greedy_tokenizer(vocabulary: Mapping[int, bytes], end_of_text: str, end_id: int) -> Tokenizer:
    """The tokenizer that reads bytes greedily by `vocabulary` (id → bytes).

    `end_of_text` becomes a special token with the id `end_id`. Raises `FormatError` if a single byte
    is no entry, for then there are texts that cannot be read.
    """
    missing = set(map(bytes, ([b] for b in range(256)))) - set(vocabulary.values())
    if missing:
        raise FormatError(
            tr(
                f"the vocabulary lacks {len(missing)} of the 256 single bytes",
                f"語彙に 256 個の単独バイトのうち {len(missing)} 個がありません",
            ),
            where=repr(min(missing)),
        )
    alphabet = byte_alphabet()
    pieces = {"".join(alphabet[b] for b in entry): index for index, entry in vocabulary.items()}
    longest = max(map(len, pieces))
    tokenizer = Tokenizer(
        WordPiece(
            {end_of_text: end_id, **pieces},
            unk_token=end_of_text,  # the model asks for one; no text needs it
            continuing_subword_prefix="",
            max_input_chars_per_word=_TOKENS_A_CUT * longest,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(Regex(_pattern(pieces)), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(end_of_text, normalized=False)])
    return tokenizer


def greedy_vocabulary(definition: Mapping[str, Any]) -> dict[int, bytes] | None:
    """The vocabulary of a `tokenizer.json` made by `greedy_tokenizer`, added tokens left out.

    None if the definition is any other tokenizer: what it cuts is compared, not taken on trust.
    """
    model, steps = definition.get("model", {}), definition.get("pre_tokenizer") or {}
    cuts = [s["pattern"].get("Regex") for s in steps.get("pretokenizers", []) if "pattern" in s]
    if model.get("type") != "WordPiece" or len(cuts) != 1 or definition.get("normalizer"):
        return None
    added = {token["id"] for token in definition.get("added_tokens", [])}
    pieces = {piece: index for piece, index in model["vocab"].items() if index not in added}
    byte_of = alphabet_bytes()
    if not pieces or not all(byte_of.keys() >= set(piece) for piece in pieces):
        return None
    if cuts[0] != _pattern(pieces):
        return None
    return {index: bytes(byte_of[c] for c in piece) for piece, index in pieces.items()}


def _pattern(pieces: Mapping[str, int]) -> str:
    """A regular expression that matches the first few tokens of any text, read greedily."""
    root: _Trie = {}
    for piece in pieces:
        node = root
        for character in piece:
            node = node.setdefault(character, {})
        node[""] = {}
    return f"(?:{_alternatives(root)}){{1,{_TOKENS_A_CUT}}}"


def _alternatives(node: _Trie) -> str:
    """What may follow in the trie at `node`; empty at a leaf. Children that go on alike share a class."""
    alike: dict[str, list[str]] = {}
    for character, child in node.items():
        if character:
            alike.setdefault(_alternatives(child), []).append(character)
    if not alike:
        return ""
    parts = _branches(sorted((sorted(cs), rest) for rest, cs in alike.items()))
    if len(parts) == 1 and "" not in node:
        return parts[0]
    # Trying to go on before stopping is what makes the match the longest.
    return f"(?:{'|'.join(parts)})" + ("?" if "" in node else "")


def _branches(ways: list[tuple[list[str], str]]) -> list[str]:
    """Alternatives, at most `_WIDTH`, each to begin with certain characters: a look at the next one
    says which, so that hundreds of ways are chosen from in a few steps."""
    if len(ways) <= _WIDTH:
        return [_class(characters) + rest for characters, rest in ways]
    size = -(-len(ways) // _WIDTH)
    groups = [ways[start : start + size] for start in range(0, len(ways), size)]
    return [
        f"(?={_class([c for characters, _ in group for c in characters])})"
        f"(?:{'|'.join(_branches(group))})"
        for group in groups
    ]


def _class(characters: list[str]) -> str:
    shown = ["\\" + c if c in _SPECIAL else c for c in sorted(characters)]
    return shown[0] if len(shown) == 1 else f"[{''.join(shown)}]"
