"""Where the tasks of a stage run: in this process, in several of this machine, or on a Ray cluster.

A task is a function of a module and one argument that can be pickled. What it makes lies in files,
so it does not matter where it runs, in which order, or whether it runs twice.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Protocol, TypeVar

from kajiya.core.errors import ResourceError
from kajiya.core.language import tr

Argument = TypeVar("Argument")

# A process takes one core: the parts are what runs side by side.
_ONE_THREAD = {
    "POLARS_MAX_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_LOOK_SECONDS = 0.5  # between two questions whether to stop


class Executor(Protocol):
    """Runs the same function on many arguments."""

    def each(
        self,
        function: Callable[[Argument], None],
        arguments: Sequence[Argument],
        go_on: Callable[[], bool],
    ) -> Iterator[int]:
        """Yield now and then how many tasks have ended since; begin no more once `go_on` says no.

        Raises what a task raised.
        """


class Here:
    """One task after another in this process."""

    def each(
        self,
        function: Callable[[Argument], None],
        arguments: Sequence[Argument],
        go_on: Callable[[], bool],
    ) -> Iterator[int]:
        for argument in arguments:
            if not go_on():
                return
            function(argument)
            yield 1


class Processes:
    """`workers` processes of this machine, each with one thread."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def each(
        self,
        function: Callable[[Argument], None],
        arguments: Sequence[Argument],
        go_on: Callable[[], bool],
    ) -> Iterator[int]:
        waiting = iter(arguments)
        context = multiprocessing.get_context("spawn")
        with (
            _one_thread_each(),
            ProcessPoolExecutor(self.workers, context, initializer=_die_with_parent) as pool,
        ):
            running: set[Future[None]] = set()
            try:
                while True:
                    while len(running) < self.workers and go_on():
                        argument = next(waiting, None)
                        if argument is None:
                            break
                        running.add(pool.submit(function, argument))
                    if not running:
                        return
                    done, running = wait(running, _LOOK_SECONDS, FIRST_COMPLETED)
                    for task in done:
                        task.result()
                    yield len(done)
            except BrokenProcessPool:
                raise ResourceError(
                    tr(
                        "a worker process was ended from outside, most likely for want of memory",
                        "作業プロセスが外から終了させられました。メモリ不足の可能性があります",
                    ),
                    fix=tr(
                        "go on with fewer workers or smaller parts",
                        "ワーカー数か part_mb を減らして再開してください",
                    ),
                ) from None


def local(workers: int) -> Executor:
    """The executor for this machine."""
    return Here() if workers == 1 else Processes(workers)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Libraries read these when they are loaded, so the processes must be born with them."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _die_with_parent() -> None:
    """A parent that is killed cannot tell its processes to end; each watches for itself."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
