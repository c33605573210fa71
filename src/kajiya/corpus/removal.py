"""Take-down: a corpus without documents that may not be in it any more.

The text goes from the kept and the dropped documents, from the tokens and from the report; what stays
is a line that says that it was removed. The old version stays until it is removed itself.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.files import sha256_file
from kajiya.corpus import layout
from kajiya.corpus.artifact import link
from kajiya.corpus.build import HELD_OUT, TOKENS, Corpus
from kajiya.corpus.document import SCHEMA
from kajiya.corpus.report.build import write_report
from kajiya.corpus.run.parts import write_part
from kajiya.corpus.shards import Shard, write_shard

STAGE = "removed"
_KEPT_OF_A_REMOVED_ONE = ("id", "source", "licence", "url")


@dataclass(frozen=True)
class Found:
    """Documents that a request means. `by` says which of id, url and licence it is."""

    documents: int
    dropped: int
    by: tuple[str, ...]
    titles: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.documents + self.dropped > 0


def wanted(request: str) -> pl.Expr:
    """Whether a document is meant: by its id, its address (all below one that ends in `/`), its licence."""
    address = pl.col("url") == request
    if request.endswith("/"):
        address |= pl.col("url").str.starts_with(request)
    return (pl.col("id") == request) | address | (pl.col("licence") == request)


def find(folder: Path, request: str, titles: int = 5) -> Found:
    """The documents of the corpus in `folder` that `request` means; not those removed before."""
    kept, dropped = (
        [_meant(path, request) for path in layout.part_files(folder / name)]
        for name in (layout.DOCUMENTS, layout.DROPPED)
    )
    every = pl.concat([*kept, *dropped])
    fields = {
        "id": pl.col("id") == request,
        "url": (pl.col("url") == request) | pl.col("url").str.starts_with(request),
        "licence": pl.col("licence") == request,
    }
    return Found(
        documents=sum(map(len, kept)),
        dropped=sum(map(len, dropped)),
        by=tuple(name for name, test in fields.items() if every.select(test.any()).item()),
        titles=tuple(every["title"].head(titles)),
    )


def _meant(path: Path, request: str) -> pl.DataFrame:
    part = pl.scan_parquet(path)
    if "stage" in part.collect_schema():
        part = part.filter(pl.col("stage") != STAGE)
    return part.filter(wanted(request)).select("id", "url", "licence", "title").collect()


def remove(folder: Path, request: str, target: Path, title: str) -> dict[str, Any]:
    """Write the corpus in `folder` without what `request` means into `target`; returns its facts."""
    gone: list[NDArray[np.bool_]] = []
    for path in layout.part_files(folder / layout.DOCUMENTS):
        frame = layout.read_part(path)
        mask = frame.select(wanted(request)).to_series().to_numpy()
        gone.append(mask)
        write_part(target / layout.DOCUMENTS / path.name, frame.filter(~mask))
        other = layout.read_part(folder / layout.DROPPED / path.name)
        meant = other.select(wanted(request)).to_series().to_numpy()
        blank = [_blank(frame.filter(mask)), _blank(other.filter(meant))]
        write_part(
            target / layout.DROPPED / path.name,
            pl.concat([other.filter(~meant), *blank], how="diagonal"),
        )
        index = folder / layout.INDEX / path.name
        if index.exists():
            write_part(target / layout.INDEX / path.name, layout.read_part(index).filter(~mask))
    _copy_rest(folder, target)
    if (folder / layout.SHARDS).exists():
        _rewrite_shards(folder, target, np.concatenate(gone))
    return write_report(target, title)


def _blank(frame: pl.DataFrame) -> pl.DataFrame:
    """What may stay of removed documents."""
    empty = [pl.lit("").alias(name) for name in SCHEMA if name not in _KEPT_OF_A_REMOVED_ONE]
    return frame.select(
        *_KEPT_OF_A_REMOVED_ONE,
        *empty,
        pl.lit(STAGE).alias("stage"),
        pl.lit(STAGE).alias("reason"),
    ).select(*SCHEMA.names(), "stage", "reason")


def _copy_rest(folder: Path, target: Path) -> None:
    for name in (layout.SOURCES, layout.MIXTURE, layout.RECIPE):
        if (folder / name).exists():
            shutil.copyfile(folder / name, target / name)
    for name in (layout.TOKENIZER, layout.CLUSTERS):
        for path in sorted((folder / name).glob("*")):
            link(path, target / name / path.name)


def _rewrite_shards(folder: Path, target: Path, gone: NDArray[np.bool_]) -> None:
    """The same sequences in the same order without those of removed documents, numbered anew."""
    corpus = Corpus.open(folder / layout.SHARDS)
    number = np.cumsum(~gone) - 1
    digest = hashlib.sha256()
    sequences = tokens = held_out = 0
    for path in _shard_files(folder / layout.SHARDS):
        shard = Shard.open(path)
        stays = np.flatnonzero(~gone[shard.documents[:, 0]])
        if len(stays) == 0:
            continue
        documents = np.array(shard.documents[stays])
        documents[:, 0] = number[documents[:, 0]]
        new = target / layout.SHARDS / path.name
        tokens += write_shard(
            new, (shard[int(index)] for index in stays), corpus.vocab_size, documents
        )
        digest.update(sha256_file(new.with_suffix(".bin")).encode())
        sequences += len(stays)
        held_out += len(stays) if path.name.startswith(HELD_OUT) else 0
    table = pl.concat(layout.iterate(target / layout.INDEX, ["title", "bytes"]))
    kept_out = _held_out_documents(target / layout.SHARDS)
    replace(
        corpus,
        sha256=digest.hexdigest(),
        documents=int((~gone).sum()),
        sequences=sequences,
        tokens=tokens,
        size=int(table["bytes"].sum()),
        held_out=tuple(range(sequences - held_out, sequences)),
        held_out_size=int(table["bytes"].gather(kept_out).sum()),
        held_out_titles=tuple(table["title"].gather(kept_out)),
    ).save(target / layout.SHARDS)


def _held_out_documents(folder: Path) -> list[int]:
    numbers: list[int] = []
    for path in _shard_files(folder):
        if path.name.startswith(HELD_OUT):
            numbers += np.unique(Shard.open(path).documents[:, 0]).tolist()
    return numbers


def _shard_files(folder: Path) -> Sequence[Path]:
    """The shards in their order, without their endings."""
    return [
        path.with_suffix("")
        for pattern in (TOKENS, HELD_OUT)
        for path in sorted(folder.glob(f"{pattern}*.idx"))
    ]
