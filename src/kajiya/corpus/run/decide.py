"""The third stage, all documents together: duplicates and repeated lines.

Each step sees what the steps before it left. What it finds is a small file; the documents themselves
are read again and not rewritten until all steps are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from kajiya.corpus.duplicates.decisions import Decisions
from kajiya.corpus.duplicates.find import exact_duplicates, near_duplicates
from kajiya.corpus.duplicates.lines import RepeatedLines, repeated_lines
from kajiya.corpus.layout import read_part
from kajiya.corpus.recipe import Recipe
from kajiya.corpus.run.filter import KEPT
from kajiya.corpus.run.parts import Part, finish, finished, write_part
from kajiya.corpus.run.stage import Run

STAGE = "decide"
_LINES = "repeated-lines.parquet"


class Marks(Protocol):
    """What a step found, to be applied to any batch."""

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same documents, with a `reason` for those that are dropped."""


def decide(run: Run, parts: Sequence[Part]) -> None:
    """Take the steps that have not been taken."""
    folder = run.folder / STAGE
    for name in steps(run.recipe):
        marker = folder / f"{name}.json"
        if finished(marker) is not None:
            continue
        _STEPS[name].find(run.recipe, _batches(run, parts, name), folder)
        run.watcher.progress(name, len(parts), len(parts), unit="part")
        finish(marker, {})


def _batches(run: Run, parts: Sequence[Part], name: str) -> Iterator[pl.DataFrame]:
    """The documents that the steps before `name` left."""
    before = marks(run.folder, run.recipe, until=name)
    for number, part in enumerate(parts):
        run.stop_if_asked()
        run.watcher.progress(name, number, len(parts), unit="part")
        frame = read_part(run.task(part).path(KEPT))
        for each in before.values():
            frame = each.apply(frame)
            if "reason" in frame.columns:
                frame = frame.filter(pl.col("reason").is_null()).drop("reason")
        yield frame


def steps(recipe: Recipe) -> list[str]:
    """The steps that a recipe asks for, in their order."""
    wanted = {
        "exact": recipe.duplicates and recipe.duplicates.exact,
        "near": recipe.duplicates and recipe.duplicates.near,
        "lines": recipe.duplicates and recipe.duplicates.lines,
    }
    return [name for name, settings in wanted.items() if settings]


def marks(folder: Path, recipe: Recipe, until: str = "") -> dict[str, Marks]:
    """What the steps of the run in `folder` found, by step; those before `until` only."""
    found: dict[str, Marks] = {}
    for name in steps(recipe):
        if name == until:
            break
        found[name] = _STEPS[name].open(recipe, folder / STAGE)
    return found


@dataclass(frozen=True)
class _Step:
    """`find` leaves what it found in the folder, where `open` finds it again."""

    find: Callable[[Recipe, Iterator[pl.DataFrame], Path], object]
    open: Callable[[Recipe, Path], Marks]


def _find_exact(recipe: Recipe, batches: Iterator[pl.DataFrame], folder: Path) -> None:
    assert recipe.duplicates and recipe.duplicates.exact
    exact_duplicates(batches, recipe.duplicates.exact, folder)


def _find_near(recipe: Recipe, batches: Iterator[pl.DataFrame], folder: Path) -> None:
    assert recipe.duplicates and recipe.duplicates.near
    near_duplicates(batches, recipe.duplicates.near, folder)


def _find_lines(recipe: Recipe, batches: Iterator[pl.DataFrame], folder: Path) -> None:
    assert recipe.duplicates and recipe.duplicates.lines
    found = repeated_lines(batches, recipe.duplicates.lines, folder)
    write_part(folder / _LINES, pl.DataFrame({"hash": found.frequent, "documents": found.counts}))


def _open_lines(recipe: Recipe, folder: Path) -> Marks:
    assert recipe.duplicates and recipe.duplicates.lines
    table = read_part(folder / _LINES)
    return RepeatedLines(
        recipe.duplicates.lines, table["hash"].to_numpy(), table["documents"].to_numpy()
    )


def _decisions(reason: str) -> Callable[[Recipe, Path], Marks]:
    return lambda recipe, folder: Decisions(folder / f"{reason}s.parquet", reason)


_STEPS = {
    "exact": _Step(_find_exact, _decisions("exact-duplicate")),
    "near": _Step(_find_near, _decisions("near-duplicate")),
    "lines": _Step(_find_lines, _open_lines),
}
