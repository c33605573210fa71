"""The sixth stage: the mixture, and the tokens of all parts in one shuffled order as shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.errors import DataError
from kajiya.core.files import atomic_file, sha256_file
from kajiya.core.language import tr
from kajiya.corpus.build import HELD_OUT, TOKENS, Corpus
from kajiya.corpus.layout import MIXTURE, SHARDS, TOKENIZER, read_part
from kajiya.corpus.mixture import plan_mixture
from kajiya.corpus.run.order import Cut, cut, hold_out, shuffled
from kajiya.corpus.run.parts import Part, finish, finished
from kajiya.corpus.run.stage import Run, Task
from kajiya.corpus.run.tokenise import STAGE as TOKENISED
from kajiya.corpus.run.tokenise import token_file
from kajiya.corpus.shards import Shard, write_shard
from kajiya.tokenizer.chat import ChatTokenizer

STAGE = "assemble"
_DONE = "done.json"


@dataclass(frozen=True)
class ShardTask:
    """One shard to be laid down from the tokens of `parts`; its sequences lie in a file."""

    folder: Path
    name: str
    parts: tuple[Task, ...]
    vocabulary: int

    def marker(self, stage: str) -> Path:
        return self.folder / stage / f"{self.name}.json"

    @property
    def plan(self) -> Path:
        return self.folder / STAGE / f"{self.name}.npy"


def assemble(run: Run, parts: Sequence[Part]) -> Corpus:
    """Lay down the shards that are not there yet, and then their description.

    Raises `DataError` if no document was left.
    """
    folder = run.folder / SHARDS
    if finished(run.folder / STAGE / _DONE) is not None:
        return Corpus.open(folder)
    table = _documents(run, parts)
    if table.is_empty():
        raise DataError(
            tr("the rules left no document", "選別の結果、文書が残りませんでした"),
            fix=tr(
                "see which rule dropped them, in the report",
                "レポートでどの規則かを確認してください",
            ),
        )
    held_out = hold_out(table, run.recipe.shards.held_out_bytes)
    lengths = table["tokens"].to_numpy()
    vocabulary = ChatTokenizer.load(run.folder / TOKENIZER).vocab_size
    most = max(2, int(run.recipe.shards.size_mb * 1e6) // (2 if vocabulary <= 1 << 16 else 4))
    number = np.where(held_out, 0, _copies(run, table, held_out))
    cuts = cut(TOKENS, shuffled(number, run.recipe.seed), lengths, most)
    cuts += cut(HELD_OUT, np.flatnonzero(held_out), lengths, most)
    tasks = [_task(run, parts, each, vocabulary) for each in cuts]
    run.each(STAGE, _write_shard, tasks, unit="shard")
    corpus = _describe(folder, table, held_out, cuts, tasks)
    corpus.save(folder)
    finish(run.folder / STAGE / _DONE, {})
    return corpus


def _documents(run: Run, parts: Sequence[Part]) -> pl.DataFrame:
    """A row for each document of the corpus, in order: all that the shards depend on."""
    columns = ["id", "source", "language", "domain", "title", "work", "bytes", "tokens"]
    return pl.concat([read_part(run.task(part).path(TOKENISED), columns) for part in parts])


def _copies(run: Run, table: pl.DataFrame, held_out: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each document is trained on, by the mixture; its preview is kept for the report."""
    if run.recipe.mixture is None:
        return np.ones(len(table), np.int64)
    trained = table.filter(~held_out)
    inventory = trained.group_by("source", "language", "domain", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("documents"), pl.col("tokens").sum()
    )
    plan = plan_mixture(inventory, run.recipe.mixture)
    finish(run.folder / MIXTURE, {"rows": plan.preview().to_dicts()})
    number = np.zeros(len(table), np.int64)
    number[~held_out] = plan.copies(trained).to_numpy()
    return number


def _task(run: Run, parts: Sequence[Part], each: Cut, vocabulary: int) -> ShardTask:
    task = ShardTask(run.folder, each.name, tuple(run.tasks(parts)), vocabulary)
    with atomic_file(task.plan) as file:
        np.lib.format.write_array(file, each.sequences)
    return task


def _write_shard(task: ShardTask) -> None:
    sequences: NDArray[np.int64] = np.load(task.plan, mmap_mode="r")
    target = task.folder / SHARDS / task.name
    documents = np.ascontiguousarray(sequences[:, :2])
    write_shard(target, _gather(sequences, task.parts), task.vocabulary, documents)
    finish(task.marker(STAGE), {"sha256": sha256_file(target.with_suffix(".bin"))})


def _gather(sequences: NDArray[np.int64], parts: Sequence[Task]) -> Iterator[NDArray[Any]]:
    shards = [Shard.open(token_file(part)) for part in parts]
    first = np.cumsum([0, *(len(shard) for shard in shards)])
    for document, offset, length in sequences.tolist():
        part = int(np.searchsorted(first, document, side="right")) - 1
        yield shards[part][document - int(first[part])][offset : offset + length]


def _describe(
    folder: Path,
    table: pl.DataFrame,
    held_out: NDArray[np.bool_],
    cuts: Sequence[Cut],
    tasks: Sequence[ShardTask],
) -> Corpus:
    digest = hashlib.sha256()
    for task in tasks:
        digest.update((finished(task.marker(STAGE)) or {})["sha256"].encode())
    sequences = sum(len(each.sequences) for each in cuts)
    last = sum(len(each.sequences) for each in cuts if each.name.startswith(HELD_OUT))
    kept_out = table.filter(held_out)
    return Corpus(
        folder=folder,
        sha256=digest.hexdigest(),
        vocab_size=tasks[0].vocabulary,
        documents=len(table),
        sequences=sequences,
        tokens=sum(int(each.sequences[:, 2].sum()) for each in cuts),
        size=int(table["bytes"].sum()),
        held_out=tuple(range(sequences - last, sequences)),
        held_out_size=int(kept_out["bytes"].sum()),
        held_out_titles=tuple(kept_out["title"]),
    )
