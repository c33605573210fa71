"""The second stage, a part at a time: rules, then personal data; the dropped beside the kept.

Both are functions of a document alone, so parts need not know of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import polars as pl

from kajiya.corpus.layout import read_part
from kajiya.corpus.personal.mask import mask_frame
from kajiya.corpus.recipe import Recipe
from kajiya.corpus.rules.preset import Preset, load_preset
from kajiya.corpus.run.parts import Part, finish, write_part
from kajiya.corpus.run.read import STAGE as READ
from kajiya.corpus.run.stage import Run, Task

STAGE, KEPT, DROPPED = "filter", "filter/kept", "filter/dropped"


def filter_parts(run: Run, parts: Sequence[Part]) -> None:
    """Filter what has not been filtered."""
    run.each(STAGE, _filter_part, run.tasks(parts))


def filtered(frame: pl.DataFrame, recipe: Recipe) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The documents kept and the documents dropped, which say by which `stage` and for what `reason`."""
    dropped = [frame.head(0)]
    if recipe.rules:
        frame, failed = split(_preset(recipe.rules).apply(frame), "rules")
        dropped.append(failed)
    if recipe.personal:
        frame, failed = split(mask_frame(frame, recipe.personal), "personal")
        dropped.append(failed)
    return frame, pl.concat(dropped, how="diagonal")


def split(frame: pl.DataFrame, stage: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Documents without a reason, and those with one, which get the name of the stage."""
    if "reason" not in frame.columns:
        return frame, frame.head(0)
    kept = frame.filter(pl.col("reason").is_null()).drop("reason")
    dropped = frame.filter(pl.col("reason").is_not_null())
    return kept, dropped.with_columns(pl.lit(stage).alias("stage"))


def _filter_part(task: Task) -> None:
    kept, dropped = filtered(read_part(task.path(READ)), task.recipe)
    write_part(task.path(KEPT), kept)
    write_part(task.path(DROPPED), dropped)
    finish(task.marker(STAGE), {"kept": len(kept), "dropped": len(dropped)})


@lru_cache(maxsize=4)
def _preset(name: str) -> Preset:
    return load_preset(name)
