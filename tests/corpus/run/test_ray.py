"""The same recipe on a Ray cluster: here one of two workers, started and ended by the test."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from kajiya.core.errors import DataError, ResourceError
from kajiya.corpus.run.ray_executor import RayCluster
from support.recipes import digests, follow, make_sources

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'kajiya[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield RayCluster("auto")
        ray.shutdown()


def test_the_corpus_is_the_same(cluster: RayCluster, tmp_path: Path) -> None:
    recipe = make_sources(tmp_path / "sources")
    assert digests(follow(recipe, tmp_path / "ray", cluster)) == digests(
        follow(recipe, tmp_path / "here")
    )


# Tasks of these tests are functions within them: Ray sends those along, so its workers need no tests.


def test_an_error_of_a_task_is_told_as_it_is(cluster: RayCluster) -> None:
    def refuse(number: int) -> None:
        raise DataError("row 3 is empty", where=f"file {number}", fix="fill it in")

    with pytest.raises(DataError) as told:
        list(cluster.each(refuse, [7], lambda: True))
    assert (told.value.message, told.value.where) == ("row 3 is empty", "file 7")


def test_a_task_whose_worker_is_killed_is_done_again(cluster: RayCluster, tmp_path: Path) -> None:
    def killed_at_first(path: Path) -> None:
        with path.open("a") as file:
            file.write("x")
        if path.stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    assert sum(cluster.each(killed_at_first, [tmp_path / "tries"], lambda: True)) == 1
    assert (tmp_path / "tries").read_text() == "xx"


def test_a_task_whose_worker_is_always_killed_is_told(cluster: RayCluster) -> None:
    def killed(number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ResourceError, match="worker"):
        list(cluster.each(killed, [1], lambda: True))


def test_nothing_is_begun_after_a_stop(cluster: RayCluster, tmp_path: Path) -> None:
    assert list(cluster.each(Path.touch, [tmp_path / "x"], lambda: False)) == []
    assert not (tmp_path / "x").exists()
