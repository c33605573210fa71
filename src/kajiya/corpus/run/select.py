"""The fourth stage, a part at a time: the documents as the corpus has them, and all that were dropped.

What was decided of duplicates is applied, and evaluation items are looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import polars as pl

from kajiya.corpus.contamination import Contamination, read_items
from kajiya.corpus.layout import DOCUMENTS, DROPPED, read_part
from kajiya.corpus.recipe import Recipe
from kajiya.corpus.run import decide, filter
from kajiya.corpus.run.parts import Part, finish, write_part
from kajiya.corpus.run.stage import Run, Task

STAGE = "select"


def select_parts(run: Run, parts: Sequence[Part]) -> None:
    """Apply what was decided to the parts to which it has not been applied."""
    run.each(STAGE, _select_part, run.tasks(parts))


def _select_part(task: Task) -> None:
    kept = read_part(task.path(filter.KEPT))
    dropped = [read_part(task.path(filter.DROPPED))]
    for name, found in _marks(task.folder, task.recipe.model_dump_json()).items():
        kept, failed = filter.split(found.apply(kept), name)
        dropped.append(failed)
    write_part(task.path(DROPPED), pl.concat(dropped, how="diagonal"))
    write_part(task.path(DOCUMENTS), kept)
    finish(task.marker(STAGE), {"kept": len(kept), "dropped": sum(map(len, dropped))})


@lru_cache(maxsize=1)
def _marks(folder: Path, recipe: str) -> dict[str, decide.Marks]:
    checked = Recipe.model_validate_json(recipe)
    found = decide.marks(folder, checked)
    if checked.contamination:
        items = chain.from_iterable(map(read_items, checked.contamination.items))
        found["contamination"] = Contamination(items, checked.contamination)
    return found
