"""The fifth stage, a part at a time: the tokens of the documents that stayed, and a small table of them.

Where the recipe asks for a tokenizer of its own, it is trained on these documents first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import polars as pl

from kajiya.core.files import atomic_folder
from kajiya.corpus.build import end_of_text
from kajiya.corpus.layout import DOCUMENTS, TOKENIZER, iterate, read_part
from kajiya.corpus.run.parts import Part, finish, write_part
from kajiya.corpus.run.stage import Run, Task
from kajiya.corpus.shards import write_shard
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.settings import TokenizerConfig
from kajiya.tokenizer.training import train

STAGE = "tokenise"
_AT_ONCE = 64  # documents
_KEPT_COLUMNS = ("id", "source", "licence", "language", "domain", "title")


def train_tokenizer(run: Run) -> None:
    """Train the tokenizer that the recipe asks for, unless it is there already."""
    settings, folder = run.recipe.tokenizer, run.folder / TOKENIZER
    if not isinstance(settings, TokenizerConfig) or folder.exists():
        return

    def tell(step: str, done: float, total: float) -> None:
        if step == "read":  # heard once a document; between parts `_texts` asks whether to stop
            return
        run.stop_if_asked()
        if total:
            learnt = min(1.0, done / total) if step == "train" else 0.0
            run.watcher.progress("tokenizer", 100 * learnt, 100, unit="%")

    run.watcher.progress("tokenizer", 0, 100, unit="%")
    with atomic_folder(folder) as scratch:
        train(_texts(run), settings, scratch, tell=tell)
    run.watcher.progress("tokenizer", 100, 100, unit="%")


def tokenise_parts(run: Run, parts: Sequence[Part]) -> None:
    """Tokenise what has not been tokenised."""
    run.each(STAGE, _tokenise_part, run.tasks(parts))


def token_file(task: Task) -> Path:
    """The shard with a part's tokens, without its endings."""
    return task.folder / STAGE / task.part.name


def _texts(run: Run) -> Iterator[str]:
    for frame in iterate(run.folder / DOCUMENTS, ["text"]):
        run.stop_if_asked()
        yield from frame["text"]


def _tokenise_part(task: Task) -> None:
    tokenizer = _tokenizer(task.folder / TOKENIZER)
    end = end_of_text(tokenizer)
    frame = read_part(task.path(DOCUMENTS), [*_KEPT_COLUMNS, "group", "text"])
    lengths: list[int] = []

    def tokens() -> Iterator[list[int]]:
        for first in range(0, len(frame), _AT_ONCE):
            for ids in tokenizer.encode_texts(frame["text"][first : first + _AT_ONCE].to_list()):
                lengths.append(1 + len(ids))
                yield [end, *ids]

    write_shard(token_file(task), tokens(), tokenizer.vocab_size)
    table = frame.select(
        *_KEPT_COLUMNS,
        pl.Series("work", [_key(group, task.recipe.seed) for group in frame["group"]], pl.UInt64),
        pl.col("text").str.len_bytes().cast(pl.Int64).alias("bytes"),
        pl.Series("tokens", lengths, pl.Int64),
    )
    write_part(task.path(STAGE), table)
    finish(task.marker(STAGE), {"documents": len(frame), "tokens": sum(lengths)})


def _key(group: str, seed: int) -> int:
    """A number for a work, in an order that `seed` shuffles."""
    digest = hashlib.blake2b(f"{seed}/{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)
