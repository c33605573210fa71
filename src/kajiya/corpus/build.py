"""From documents to a corpus that can be trained on: tokens, and which documents are held out."""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kajiya.core.errors import ConfigError, DataError, FormatError
from kajiya.core.files import atomic_folder, write_json
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.shard_set import ShardSet
from kajiya.corpus.shards import write_shard
from kajiya.tokenizer.chat import ChatTokenizer

MANIFEST = "corpus.json"
TOKENS, HELD_OUT = "tokens", "held-out"  # beginnings of the shards' names
_AT_ONCE = 64  # documents tokenised in parallel
_LARGEST_SHARE = 0.05  # of the corpus that is held out
_LARGEST_PART = 0.1  # of the held-out text that is one work


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus in a folder. Sizes are in bytes of UTF-8.

    `sha256` is of the tokens. `sequences` counts a document as often as it is repeated; `held_out` are
    indices of those that are kept out of training; all others are trained on.
    """

    folder: Path
    sha256: str
    vocab_size: int
    documents: int
    sequences: int
    tokens: int
    size: int
    held_out: tuple[int, ...]
    held_out_size: int
    held_out_titles: tuple[str, ...]

    @property
    def shards(self) -> ShardSet:
        """The tokens; those that are held out may have shards of their own, which come last."""
        return ShardSet.open(self.folder, f"{TOKENS}*", f"{HELD_OUT}*")

    @property
    def trained(self) -> NDArray[np.int64]:
        """Indices of the sequences to train on."""
        return np.setdiff1d(np.arange(self.sequences), np.array(self.held_out, np.int64))

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """A corpus that `build_corpus` made. Raises `FormatError` if its description is damaged."""
        try:
            found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            for name in ("held_out", "held_out_titles"):
                found[name] = tuple(found[name])
            return cls(folder=folder, **found)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FormatError(
                tr(f"not a corpus: {error}", f"コーパスではありません: {error}"),
                where=str(folder / MANIFEST),
            ) from None

    def save(self, folder: Path) -> None:
        """Write the description that `open` reads."""
        description = asdict(self)
        del description["folder"]
        write_json(folder / MANIFEST, description)


@dataclass(frozen=True)
class _Seen:
    group: str
    title: str
    size: int


def build_corpus(
    documents: Iterable[Document],
    tokenizer: ChatTokenizer,
    folder: Path,
    *,
    held_out_size: int = 100_000,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> Corpus:
    """Tokenise `documents` into the new `folder`, which appears whole or not at all.

    Each document begins with the end-of-text token. About `held_out_size` bytes (at most 5 % of the
    corpus) are held out, whole works chosen by `seed`, none of them more than a tenth; editions of
    a work stay together. A corpus of one work has nothing held out. `tell` is told the bytes done.

    Raises `DataError` for a corpus without text, `ConfigError` for a tokenizer without end-of-text.
    """
    end = end_of_text(tokenizer)
    seen: list[_Seen] = []
    digest = hashlib.sha256()
    with atomic_folder(folder) as scratch:
        encoded = _encode(documents, tokenizer, end, seen, digest.update, tell)
        tokens = write_shard(scratch / TOKENS, encoded, tokenizer.vocab_size)
        if not seen:
            raise DataError(tr("there is no text", "文書がありません"))
        held_out = _hold_out(seen, held_out_size, seed)
        corpus = Corpus(
            folder=folder,
            sha256=digest.hexdigest(),
            vocab_size=tokenizer.vocab_size,
            documents=len(seen),
            sequences=len(seen),
            tokens=tokens,
            size=sum(document.size for document in seen),
            held_out=tuple(held_out),
            held_out_size=sum(seen[index].size for index in held_out),
            held_out_titles=tuple(seen[index].title for index in held_out),
        )
        corpus.save(scratch)
    return corpus


def _encode(
    documents: Iterable[Document],
    tokenizer: ChatTokenizer,
    end: int,
    seen: list[_Seen],
    digest: Callable[[bytes], None],
    tell: Callable[[int], None],
) -> Iterator[list[int]]:
    done = 0
    source = iter(documents)
    while several := list(islice(source, _AT_ONCE)):
        texts = [document.text for document in several]
        for document, ids in zip(several, tokenizer.encode_texts(texts), strict=True):
            tokens = [end, *ids]
            size = len(document.text.encode("utf-8"))
            seen.append(_Seen(document.group, document.title, size))
            done += size
            digest(array("I", tokens).tobytes())
            yield tokens
        tell(done)


def end_of_text(tokenizer: ChatTokenizer) -> int:
    """The token before each document; raises `ConfigError` if the tokenizer has none."""
    if tokenizer.eos_id is None:
        raise ConfigError(
            tr(
                "the tokenizer has no end-of-text token, so documents could not be told apart",
                "トークナイザに文書の終わりを示すトークンがありません",
            ),
            where="eos_token",
        )
    return tokenizer.eos_id


def _hold_out(seen: list[_Seen], wanted: int, seed: int) -> list[int]:
    """Indices of the documents to hold out."""
    groups: dict[str, list[int]] = {}
    for index, document in enumerate(seen):
        groups.setdefault(document.group, []).append(index)
    if len(groups) < 2 or not wanted:
        return []
    sizes = {name: sum(seen[i].size for i in members) for name, members in groups.items()}
    target = min(wanted, _LARGEST_SHARE * sum(sizes.values()))
    names = sorted(groups)
    random.Random(seed).shuffle(names)  # noqa: S311
    fitting = [name for name in names if sizes[name] <= _LARGEST_PART * target]
    fitting = fitting or [min(names, key=lambda name: sizes[name])]
    chosen: list[int] = []
    total = 0
    for name in fitting:
        if total + sizes[name] > target and chosen:
            continue
        chosen += groups[name]
        total += sizes[name]
    return sorted(chosen)
