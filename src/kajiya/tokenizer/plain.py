"""Reads text as text: special tokens spelled in it become the tokens of their characters.

Knows which tokens structure a conversation and cuts trusted text at them; rendering conversations is
left to `chat`.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from tokenizers import Tokenizer

from kajiya.core.errors import DataError, FormatError
from kajiya.core.language import tr


class PlainEncoder:
    """A tokenizer whose control tokens never match in text.

    Control tokens are those marked special, named in the configuration, or written by the template
    (some models mark their turn tokens as ordinary ones).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        named: set[str],
        template: str,
        unknown_id: int | None,
        where: str,
    ) -> None:
        added = tokenizer.get_added_tokens_decoder()
        self.controls: dict[str, int] = {
            token.content: index
            for index, token in added.items()
            if token.special
            or token.content in named
            or (not token.content.isspace() and token.content in template)
        }
        self.control_ids = frozenset(self.controls.values()) - {unknown_id}
        self.tokenizer = _as_text(
            tokenizer, {i for i, t in added.items() if t.content in self.controls and not t.special}
        )
        self._inside, self._first_only = _without_prefix(self.tokenizer)
        self._where = where
        self.split = functools.lru_cache(maxsize=1024)(self._split)

    def _split(self, text: str) -> list[tuple[str, int | None]]:
        """Trusted text, cut at control tokens; their ids stand beside them."""
        present = sorted((token for token in self.controls if token in text), key=len, reverse=True)
        if not present:
            return [(text, None)] if text else []
        pattern = re.compile("(" + "|".join(map(re.escape, present)) + ")")
        return [(part, self.controls.get(part)) for part in pattern.split(text) if part]

    def encode(self, text: str, *, first: bool, continues: bool) -> list[int]:
        """Token ids of a text. SentencePiece's space in front of a text is put where the reference
        does: `first` in the sequence, or after a control token; never where the text `continues`.

        Raises `DataError` for half a surrogate pair.
        """
        within = not first and (continues or self._first_only)
        tokenizer = self._inside if within else self.tokenizer
        try:
            encoding = tokenizer.encode(text, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            raise DataError(
                tr(
                    "the text holds half of a character (a lone surrogate)",
                    "文章に不完全な文字 (サロゲートの片割れ) があります",
                )
            ) from None
        ids: list[int] = encoding.ids
        if self.control_ids.isdisjoint(ids):
            return ids
        # The vocabulary can spell a control token by ordinary merges too: then the text is cut in it.
        at = next(i for i, index in enumerate(ids) if index in self.control_ids)
        start, end = encoding.offsets[at]
        if end - start < 2:
            raise FormatError(
                tr(
                    f"the special token {text[start:end]!r} cannot be told from text",
                    f"特殊トークン {text[start:end]!r} を文字と区別できません",
                ),
                where=self._where,
            )
        middle = start + (end - start) // 2
        head = self.encode(text[:middle], first=first, continues=continues)
        return head + self.encode(text[middle:], first=False, continues=True)


def _as_text(tokenizer: Tokenizer, ordinary: set[int]) -> Tokenizer:
    """`tokenizer`, reading special tokens and the `ordinary` ones given as text; no cutting or padding."""
    if ordinary:
        definition = json.loads(tokenizer.to_str())
        for token in definition["added_tokens"]:
            token["special"] = token["special"] or token["id"] in ordinary
        tokenizer = Tokenizer.from_str(json.dumps(definition))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _without_prefix(tokenizer: Tokenizer) -> tuple[Tokenizer, bool]:
    """The same tokenizer without the space that some put before a text, and whether they put it at
    the start of a sequence only (not after each special token)."""
    parts = [tokenizer.normalizer, tokenizer.pre_tokenizer]
    states = " ".join(bytes(part.__getstate__()).decode() for part in parts if part is not None)
    always = re.search(r'"Prepend"|"add_prefix_space":\s*true|"prepend_scheme":\s*"always"', states)
    if not always and '"first"' not in states:
        return tokenizer, False
    definition = json.loads(tokenizer.to_str())
    definition["normalizer"] = _strip_prefix(definition["normalizer"])
    definition["pre_tokenizer"] = _strip_prefix(definition["pre_tokenizer"])
    bare = Tokenizer.from_str(json.dumps(definition))
    bare.encode_special_tokens = True
    return bare, not always


def _strip_prefix(component: Any) -> Any:
    """A normaliser's or pre-tokenizer's definition without what puts a space in front."""
    if not isinstance(component, dict):
        return component
    if component.get("type") == "Prepend":
        return {"type": "Sequence", "normalizers": []}
    changed = dict(component)
    for key in ("normalizers", "pretokenizers"):
        if key in changed:
            changed[key] = [_strip_prefix(part) for part in changed[key]]
    if "prepend_scheme" in changed:
        changed["prepend_scheme"] = "never"
    if "add_prefix_space" in changed:
        changed["add_prefix_space"] = False
    return changed
