"""What goes wrong around a run: killed in every stage, a disk that fills, damaged files, two at once."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import multiprocessing
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import zstandard

from kajiya.core.errors import ConflictError, DataError
from kajiya.corpus import layout
from kajiya.corpus.run.watch import Silent
from support.recipes import digests, follow, make_sources

STAGES = ("read", "filter", "exact", "near", "lines", "select", "tokenizer", "tokenise", "assemble")
GIB = 1 << 30
# Children are forked from a process that has loaded everything and begun nothing.
FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    FORKS.set_forkserver_preload(["support.recipes"])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def built(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of an uninterrupted run."""
    return follow(recipe, tmp_path_factory.mktemp("run") / "run")


class Die(Silent):
    """Kills its process the second time that it hears of a stage: when the first of its tasks has ended."""

    def __init__(self, stage: str) -> None:
        self.stage, self.heard = stage, 0

    def progress(self, stage: str, done: float, total: float = 0, *, unit: str = "") -> None:
        self.heard += stage == self.stage
        if self.heard == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def test_killed_in_every_stage(recipe: Path, built: Path, tmp_path: Path) -> None:
    for stage in STAGES:
        arguments = (recipe, tmp_path / "run", None, Die(stage))
        process = FORKS.Process(target=follow, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, stage
    assert not (tmp_path / "run" / "corpus").exists()
    assert digests(follow(recipe, tmp_path / "run")) == digests(built)


def test_a_disk_that_fills_at_many_places(recipe: Path, built: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk. With each run a little more goes through."""
    run = tmp_path / "run"
    told = 0
    for limit in (0, 500, 3000, 6000, 12_000):
        process = FORKS.Process(target=_on_a_small_disk, args=(recipe, run, limit))
        process.start()
        process.join()
        told += process.exitcode == 27
        assert process.exitcode in (0, 27)
        left = list(run.rglob(".*"))
        assert left == [], "nothing half-written"
    assert told >= 3
    assert digests(follow(recipe, run)) == digests(built)


def _on_a_small_disk(recipe: Path, run: Path, limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        follow(recipe, run)
    except OSError as error:
        sys.exit(error.errno)


class Hold(Silent):
    """Says when a stage has begun, and waits there until it may go on."""

    def __init__(self, begun: object, go_on: object) -> None:
        self.begun, self.go_on = begun, go_on

    def progress(self, stage: str, done: float, total: float = 0, *, unit: str = "") -> None:
        if stage == "filter" and done == 1:
            self.begun.set()  # type: ignore[attr-defined]
            self.go_on.wait()  # type: ignore[attr-defined]


def test_two_runs_in_one_folder(recipe: Path, built: Path, tmp_path: Path) -> None:
    """The second is refused and does the first no harm."""
    begun, go_on = FORKS.Event(), FORKS.Event()
    process = FORKS.Process(
        target=follow, args=(recipe, tmp_path / "run", None, Hold(begun, go_on))
    )
    process.start()
    assert begun.wait(60)
    with pytest.raises(ConflictError, match="another run"):
        follow(recipe, tmp_path / "run")
    go_on.set()
    process.join()
    assert process.exitcode == 0
    assert digests(tmp_path / "run" / "corpus") == digests(built)


def _rows(name: str, number: int) -> bytes:
    """Rows that do not pack well, so that a reader gives some of them before it meets damage."""
    dice = random.Random(name)
    rows = ({"text": f"{name}の{n}行目。" + dice.randbytes(500).hex()} for n in range(number))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def test_damaged_files_among_whole_ones(tmp_path: Path) -> None:
    """Cut off, with bits turned, not packed at all, in a broken encoding: each is named, the others are read."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for suffix, pack in PACK.items():
        whole = pack(_rows(suffix, 2000))
        turned = bytearray(whole)
        turned[len(turned) // 2] ^= 0xFF
        for name, raw in {
            "whole": whole,
            "cut": whole[: len(whole) * 3 // 4],
            "turned": bytes(turned),
            "plain": _rows("plain", 3),
            "empty": b"",
        }.items():
            (texts / f"{name}.jsonl{suffix}").write_bytes(raw)
    (texts / "z-last.jsonl").write_bytes('{"text": "最後の文書"}\n'.encode())
    (texts / "broken.csv").write_bytes("id,text\n1,日".encode() + b"\xff\n2,ok\n")
    (texts / "broken.jsonl").write_bytes('{"text": "日'.encode() + b'\xe3"}\n{"text": "ok"}\n')
    (texts / "cut-utf-16.jsonl").write_bytes('{"text": "あ"}\n{"text": "い"}'.encode("utf-16")[:-1])
    (tmp_path / "recipe.yaml").write_text("sources: [{kind: table, path: texts}]", "utf-8")
    product = follow(tmp_path / "recipe.yaml", tmp_path / "run")
    (facts,) = json.loads((product / layout.SOURCES).read_text("utf-8"))
    named = "\n".join(problem["where"] for problem in facts["problems"])
    kept = pl.concat(layout.iterate(product / layout.DOCUMENTS, ["id"]))["id"]
    read = kept.str.split(":").list.first().value_counts()
    number = dict(read.iter_rows())
    for suffix in PACK:
        assert number[f"whole.jsonl{suffix}"] == 2000
        for damage in ("cut", "turned"):
            assert 0 <= number.get(f"{damage}.jsonl{suffix}", 0) < 2000
        for damage in ("cut", "turned", "plain"):
            assert f"{damage}.jsonl{suffix}" in named
    assert number["z-last.jsonl"] == number["broken.csv"] == number["broken.jsonl"] == 1
    for name in ("broken.csv", "broken.jsonl", "cut-utf-16.jsonl"):
        assert name in named


@pytest.mark.parametrize("kind", ["jsonl", "csv", "txt"])
def test_a_line_of_two_gigabytes(tmp_path: Path, kind: str) -> None:
    """Told, passed over, and never held; what stands around it is read."""
    texts = tmp_path / "texts"
    texts.mkdir()
    before, after = {
        "jsonl": (b'{"text": "first"}\n{"text": "' + b"a" * 100_000, b'"}\n{"text": "last"}\n'),
        "csv": (b'text\nfirst\n"' + b"a" * 100_000, b'"\nlast\n'),
        "txt": (b"first\n\n" + b"a" * 100_000, b"\n\nlast\n"),
    }[kind]
    with (texts / f"a.{kind}").open("wb") as file:  # a file with a hole, which takes no room
        file.write(before)
        file.seek(2 * GIB)
        file.write(after)
    (texts / f"b.{kind}").write_bytes(
        {"jsonl": b'{"text": "b"}', "csv": b"text\nb\n"}.get(kind, b"b")
    )
    reader = "files" if kind == "txt" else "table"
    (tmp_path / "recipe.yaml").write_text(f"sources: [{{kind: {reader}, path: texts}}]", "utf-8")
    process = FORKS.Process(target=_in_little_memory, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    product = tmp_path / "run" / "corpus"
    (facts,) = json.loads((product / layout.SOURCES).read_text("utf-8"))
    assert facts["passed_over"] == 1 and f"a.{kind}" in facts["problems"][0]["where"]
    kept = pl.concat(layout.iterate(product / layout.DOCUMENTS, ["text"]))["text"]
    words = set("".join(kept).split())
    # A CSV that is not whole any more ends at the damage; a text with NULs is none.
    assert words == {"b"} | {"jsonl": {"first", "last"}, "csv": {"first"}, "txt": set()}[kind]


def _in_little_memory(folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    follow(folder / "recipe.yaml", folder / "run")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in KiB
    sys.exit(f"{grown} KiB more" if grown > 400_000 else 0)


def test_an_id_that_is_there_twice_is_told(tmp_path: Path) -> None:
    make_sources(tmp_path)
    with (tmp_path / "books.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "b7", "text": "別の本"}\n')
    (tmp_path / "recipe.yaml").write_text(
        "sources: [{kind: table, path: books.jsonl, columns: {id: id}}]\npart_mb: 0.004", "utf-8"
    )
    with pytest.raises(DataError, match="'table' have the id 'b7'"):
        follow(tmp_path / "recipe.yaml", tmp_path / "run")
