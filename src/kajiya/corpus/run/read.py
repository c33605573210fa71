"""The first stage: the documents of each source as parts.

A source is read by one process from its beginning to its end; one that was interrupted is read again
and writes the same parts over those that are there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.errors import DataError, KajiyaError
from kajiya.core.language import tr
from kajiya.corpus.document import Document, id_twice, to_frame
from kajiya.corpus.hashing import hashes
from kajiya.corpus.layout import read_part
from kajiya.corpus.recipe import Recipe, source_name
from kajiya.corpus.run.parts import Part, finish, finished, write_part
from kajiya.corpus.run.stage import Run, Task
from kajiya.corpus.sources.registry import open_source
from kajiya.corpus.sources.source import PathSource
from kajiya.corpus.utf8 import memory

STAGE = "read"
_MOST_DOCUMENTS = 8192  # in a part
_SHOWN, _SHOWN_OF_FILE = 100, 5  # problems kept of each source, and of a file of it
_LAST_NUMBER = re.compile(r"[0-9,]+(?=[^0-9]*$)")  # of a place: the line, row or byte


def read_sources(run: Run) -> list[Part]:
    """Read what has not been read; returns the parts of all sources in order."""
    sources = [Part(number, 0) for number in range(len(run.recipe.sources))]
    before = [finished(run.task(source).marker(STAGE)) for source in sources]
    run.each(STAGE, _read_source, run.tasks(sources), unit="source")
    parts: list[Part] = []
    for source, known in zip(sources, before, strict=True):
        facts = finished(run.task(source).marker(STAGE)) or {}
        parts += [Part(source.source, number) for number in range(facts["parts"])]
        if known is None:
            _tell(run, source_name(run.recipe.sources[source.source]), facts)
    if not parts:
        raise DataError(tr("the sources hold no text", "情報源に文書がありません"))
    return parts


def source_facts(run: Run) -> list[dict[str, Any]]:
    """What reading each source found: documents, problems."""
    return [
        {"name": source_name(source)} | (finished(run.task(Part(number, 0)).marker(STAGE)) or {})
        for number, source in enumerate(run.recipe.sources)
    ]


def sample_sources(recipe: Recipe, documents: int) -> Iterator[pl.DataFrame]:
    """The first `documents` of each source, as batches; what cannot be read is passed over."""
    for source in recipe.sources:
        some = islice(open_source(source, lambda problem: None), documents)
        for batch in batches(some, recipe.part_mb):
            yield to_frame(batch)


def batches(documents: Iterable[Document], part_mb: float) -> Iterator[list[Document]]:
    """Documents in batches of about `part_mb` megabytes of text, in order."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text.encode("utf-8"))
        if size >= part_mb * 1e6 or len(batch) >= _MOST_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_source(task: Task) -> None:
    source = task.recipe.sources[task.part.source]
    shown: list[dict[str, str]] = []
    of_file: Counter[str] = Counter()
    passed_over = number = documents = 0

    def note(problem: DataError) -> None:
        nonlocal passed_over
        passed_over += 1
        file = _LAST_NUMBER.sub("", problem.where)
        of_file[file] += 1
        if len(shown) < _SHOWN and of_file[file] <= _SHOWN_OF_FILE:
            shown.append(problem.as_dict() | {"where": _without_folder(problem.where, source)})

    keys: list[NDArray[np.uint64]] = []
    try:
        for batch in batches(open_source(source, note), task.recipe.part_mb):
            part = Task(task.folder, task.recipe, Part(task.part.source, number))
            frame = to_frame(batch)
            write_part(part.path(STAGE), frame)
            keys.append(hashes(*memory(frame["id"])))
            number, documents = number + 1, documents + len(batch)
        _check_ids(task, keys)
    except KajiyaError as error:
        where = f"{source_name(source)}: {error.where}" if error.where else source_name(source)
        raise type(error)(error.message, where=where, fix=error.fix) from None
    for old in (task.folder / STAGE).glob(f"{task.part.source:03}-*.parquet"):
        if int(old.stem[4:]) >= number:  # the source was longer when a killed run read it
            old.unlink()
    finish(
        task.marker(STAGE),
        {"parts": number, "documents": documents, "passed_over": passed_over, "problems": shown},
    )


def _check_ids(task: Task, keys: list[NDArray[np.uint64]]) -> None:
    """Raise `DataError` where two documents of the source have the same id; `keys` are hashes of them."""
    every = np.sort(np.concatenate([np.zeros(0, np.uint64), *keys]))
    suspects = np.unique(every[1:][every[1:] == every[:-1]])
    if not len(suspects):
        return
    seen: set[str] = set()
    for number, found in enumerate(keys):
        part = Task(task.folder, task.recipe, Part(task.part.source, number))
        names = read_part(part.path(STAGE), ["id"])["id"]
        for name in names.filter(pl.Series(np.isin(found, suspects))):
            if name in seen:
                raise id_twice(source_name(task.recipe.sources[task.part.source]), name)
            seen.add(name)


def _without_folder(where: str, source: Any) -> str:
    """The place of a problem as the report tells it: where the source lay is nobody else's business."""
    if not isinstance(source, PathSource):
        return where
    return where.replace(f"{Path(source.path).parent}/", "")


def _tell(run: Run, name: str, facts: dict[str, Any]) -> None:
    for problem in facts["problems"]:
        run.watcher.log(f"{name}: {problem['where']}: {problem['message']}", "warning")
    more = facts["passed_over"] - len(facts["problems"])
    if more > 0:
        run.watcher.log(
            tr(f"{name}: {more} more passed over", f"{name}: ほか {more} 件を読み飛ばしました"),
            "warning",
        )
    run.watcher.log(
        tr(f"{name}: {facts['documents']:,} documents", f"{name}: 文書 {facts['documents']:,} 件")
    )
