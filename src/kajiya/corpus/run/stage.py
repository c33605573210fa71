"""A run in its folder, and how the tasks of a stage are handed out: only those not finished yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from kajiya.core.errors import ConflictError
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.corpus.recipe import Recipe
from kajiya.corpus.run.executors import Executor
from kajiya.corpus.run.parts import Part, finish, finished
from kajiya.corpus.run.watch import Stopped, Watcher

_RUN, _LOCK = "run.json", "lock"


class _HasMarker(Protocol):
    def marker(self, stage: str) -> Path: ...


Marked = TypeVar("Marked", bound=_HasMarker)


@dataclass(frozen=True)
class Task:
    """One part of the work of a stage; everything that it needs can be sent to another machine."""

    folder: Path
    recipe: Recipe
    part: Part

    def marker(self, stage: str) -> Path:
        return self.folder / stage / f"{self.part.name}.json"

    def path(self, stage: str) -> Path:
        return self.folder / stage / f"{self.part.name}.parquet"


@dataclass(frozen=True)
class Run:
    """A recipe that is being followed in `folder`."""

    folder: Path
    recipe: Recipe
    executor: Executor
    watcher: Watcher

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else works in the folder inside the block; what a killed run was writing is swept away.

        Raises `ConflictError` if somebody does, or if it holds a run of another recipe or version.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.folder / _LOCK, 0))
            except TimeoutError:
                raise ConflictError(
                    tr("another run is at work here", "別の処理がここで実行中です"),
                    where=str(self.folder),
                    fix=tr("wait until it has ended", "終わるまで待ってください"),
                ) from None
            self._begin()
            yield

    def _begin(self) -> None:
        known = finished(self.folder / _RUN)
        if known is None:
            finish(self.folder / _RUN, {"recipe": self.recipe.fingerprint})
            return
        if known.get("recipe") != self.recipe.fingerprint:
            raise ConflictError(
                tr(
                    "another recipe, or another version of Kajiya, was begun here",
                    "別のレシピか別の版の Kajiya で始めた作業が残っています",
                ),
                where=str(self.folder),
                fix=tr("start a new run", "新しく始めてください"),
            )
        for path in [*self.folder.rglob(".*")]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def task(self, part: Part) -> Task:
        return Task(self.folder, self.recipe, part)

    def tasks(self, parts: Sequence[Part]) -> list[Task]:
        return [self.task(part) for part in parts]

    def each(
        self,
        stage: str,
        function: Callable[[Marked], None],
        tasks: Sequence[Marked],
        unit: str = "part",
    ) -> None:
        """Have `function` work on those of `tasks` that have no marker in `stage` yet.

        Raises what a task raised, and `Stopped` once the watcher wants to stop.
        """
        waiting = [task for task in tasks if finished(task.marker(stage)) is None]
        done = len(tasks) - len(waiting)
        self.watcher.progress(stage, done, len(tasks), unit=unit)
        for ended in self.executor.each(function, waiting, self.going_on):
            done += ended
            self.watcher.progress(stage, done, len(tasks), unit=unit)
        self.stop_if_asked()

    def going_on(self) -> bool:
        return not self.watcher.should_stop()

    def stop_if_asked(self) -> None:
        """Raise `Stopped` if the watcher wants that."""
        if self.watcher.should_stop():
            raise Stopped
