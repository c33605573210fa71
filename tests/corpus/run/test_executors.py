"""Executors: every task once, errors as they are, and an end that says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kajiya.core.errors import DataError, ResourceError
from kajiya.corpus.run.executors import Executor, Here, Processes, local
from support import corpus_tasks

BOTH = pytest.mark.parametrize("executor", [Here(), Processes(2)], ids=["here", "processes"])


@BOTH
def test_every_task_is_done(executor: Executor, tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(5)]
    assert sum(executor.each(corpus_tasks.note, paths, lambda: True)) == 5
    processes = {path.read_text("utf-8").split()[0] for path in paths}
    assert (processes == {str(os.getpid())}) is isinstance(executor, Here)


def test_processes_have_one_thread_and_this_one_is_left_alone(tmp_path: Path) -> None:
    before = dict(os.environ)
    list(Processes(1).each(corpus_tasks.note, [tmp_path / "x"], lambda: True))
    assert (tmp_path / "x").read_text("utf-8").endswith(" 1")
    assert dict(os.environ) == before


@BOTH
def test_errors_come_as_they_are(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        list(executor.each(corpus_tasks.refuse, [tmp_path / "x"], lambda: True))
    assert (told.value.where, told.value.fix) == ("x", "fill it in")


@BOTH
def test_nothing_is_begun_after_a_stop(executor: Executor, tmp_path: Path) -> None:
    assert list(executor.each(corpus_tasks.note, [tmp_path / "x"], lambda: False)) == []
    assert not (tmp_path / "x").exists()


def test_a_process_that_is_killed_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="memory"):
        list(Processes(2).each(corpus_tasks.die, [tmp_path / "x"], lambda: True))


def test_the_number_of_processes_decides() -> None:
    assert isinstance(local(1), Here)
    assert isinstance(local(3), Processes)
