"""From a recipe to a corpus: what stays, what goes and why, and that every way there ends the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest

from kajiya.core.errors import ConflictError, DataError, FormatError, ResourceError
from kajiya.core.events import Progress
from kajiya.corpus import layout
from kajiya.corpus.build import Corpus
from kajiya.corpus.recipe import load_recipe
from kajiya.corpus.run import parts as parts_module
from kajiya.corpus.run.executors import Processes
from kajiya.corpus.run.watch import Silent, Stopped
from kajiya.tokenizer.chat import ChatTokenizer
from support.recipes import digests, follow, make_sources


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def built(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of an uninterrupted run."""
    return follow(recipe, tmp_path_factory.mktemp("run") / "run")


def table(folder: Path, name: str) -> pl.DataFrame:
    return pl.concat(layout.iterate(folder / name), how="diagonal")


def test_every_document_is_kept_or_dropped_with_its_reason(built: Path) -> None:
    kept, dropped = table(built, layout.DOCUMENTS), table(built, layout.DROPPED)
    assert len(kept) + len(dropped) == 90
    reasons = {name: set(part["id"]) for (name,), part in dropped.group_by("reason")}
    assert reasons["length"] == {f"w{n}" for n in range(7, 60, 10)}
    # A copy and its original are the same without the footer: the longer or the first stays.
    copies = {f"w{n}" for n in range(3, 60, 10)} | {f"w{n}" for n in range(2, 60, 10)}
    assert reasons.keys() == {"length", "exact-duplicate"}
    assert reasons["exact-duplicate"] <= copies and len(reasons["exact-duplicate"]) == 6
    assert set(dropped["stage"]) == {"rules", "exact"}
    assert set(kept["id"]).isdisjoint(dropped["id"])
    assert kept["licence"].unique().sort().to_list() == ["CC-BY-4.0", "CC0-1.0"]


def test_personal_data_and_repeated_lines_are_gone(built: Path) -> None:
    kept = table(built, layout.DOCUMENTS)
    assert not kept["text"].str.contains("03-1234-5678", literal=True).any()
    assert kept["text"].str.contains("[PHONE]", literal=True).sum() == 6
    assert not kept["text"].str.contains("転載できません").any()
    assert kept["personal.phone"].sum() == 6


def test_the_tokens_are_those_of_the_documents(built: Path) -> None:
    corpus = Corpus.open(built / layout.SHARDS)
    tokenizer = ChatTokenizer.load(built / layout.TOKENIZER)
    kept, shards = table(built, layout.DOCUMENTS), corpus.shards
    assert corpus.documents == len(kept)
    assert len(shards.shards) > 3 and corpus.sequences == len(shards)
    whole: dict[int, list[list[int]]] = {}
    for sequence in range(len(shards)):
        document, offset = shards.document(sequence)
        if offset == 0:
            whole.setdefault(document, []).append([])
        whole[document][-1] += shards[sequence].tolist()
    for document, copies in whole.items():
        text = kept["text"][document]
        for copy in copies:
            assert copy[0] == tokenizer.eos_id
            assert tokenizer.decode(copy[1:], skip_special=False) == text
    index = table(built, layout.INDEX)
    assert index["id"].to_list() == kept["id"].to_list()
    assert int(index["tokens"].sum()) == sum(len(copies[0]) for copies in whole.values())


def test_the_mixture_repeats_and_the_held_out_are_kept_out(built: Path) -> None:
    corpus = Corpus.open(built / layout.SHARDS)
    kept, shards = table(built, layout.DOCUMENTS), corpus.shards
    held_out = {shards.document(sequence)[0] for sequence in corpus.held_out}
    trained = [shards.document(int(sequence)) for sequence in corpus.trained]
    numbers = [number for number, offset in trained if offset == 0]
    assert held_out and held_out.isdisjoint(numbers)
    assert held_out | set(numbers) == set(range(len(kept)))
    for number in set(numbers):
        times = numbers.count(number)
        assert times == 1 if kept["source"][number] == "web" else times in (2, 3)
    books = [number for number in numbers if kept["source"][number] == "books"]
    assert 2 < len(books) / len(set(books)) < 3
    assert corpus.held_out_size <= 0.05 * corpus.size
    assert numbers != sorted(numbers), "shuffled"


def test_shards_keep_to_their_size(built: Path) -> None:
    sizes = [path.stat().st_size for path in (built / layout.SHARDS).glob("*.bin")]
    assert max(sizes) <= 4000


def test_it_is_the_same_in_several_processes(recipe: Path, built: Path, tmp_path: Path) -> None:
    assert digests(follow(recipe, tmp_path / "run", Processes(2))) == digests(built)


# Children are forked from a process that has loaded everything and begun nothing.
FORKS = multiprocessing.get_context("forkserver")


def files_under(folder: Path) -> int:
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    FORKS.set_forkserver_preload(["support.recipes"])


def test_killed_anywhere_and_begun_again_it_ends_the_same(
    recipe: Path, built: Path, tmp_path: Path
) -> None:
    """Killed with SIGKILL whenever a random number of files is there, again and again."""
    run = tmp_path / "run"
    draw = random.Random(time.time_ns())
    total = files_under(built.parent)
    kills = 0
    while not (run / "corpus").exists():
        enough = files_under(run) + draw.randint(1, total // 3)
        process = FORKS.Process(target=follow, args=(recipe, run))
        process.start()
        while process.is_alive() and files_under(run) < enough:
            time.sleep(0.001)
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
    assert kills > 0
    assert digests(run / "corpus") == digests(built)


def test_its_processes_end_with_it(recipe: Path, built: Path, tmp_path: Path) -> None:
    """Killed while two processes work for it: they end by themselves, and nothing is lost."""
    run = tmp_path / "run"
    process = FORKS.Process(target=follow, args=(recipe, run, Processes(2)))
    process.start()
    while not list(run.glob("filter/*.json")):
        assert process.is_alive()
        time.sleep(0.001)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.join()
    assert workers
    psutil.wait_procs(workers, timeout=60)
    assert not any(worker.is_running() for worker in workers)
    assert digests(follow(recipe, run)) == digests(built)


class StopAfter(Silent):
    """Wants to stop after so many questions."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_stopped_and_gone_on_with(recipe: Path, built: Path, tmp_path: Path) -> None:
    stops = 0
    for questions in range(2, 400, 3):
        try:
            product = follow(recipe, tmp_path / "run", watcher=StopAfter(questions))
            break
        except Stopped:
            stops += 1
    assert stops > 3
    assert digests(product) == digests(built)


def test_progress_is_told(recipe: Path, tmp_path: Path) -> None:
    class Recorder(Silent):
        def __init__(self) -> None:
            self.events: list[Progress] = []

        def progress(self, stage: str, done: float, total: float = 0, *, unit: str = "") -> None:
            self.events.append(Progress(stage=stage, done=done, total=total, unit=unit))

    recorder = Recorder()
    follow(recipe, tmp_path / "run", watcher=recorder)
    last = {event.stage: event for event in recorder.events}
    assert list(last) == [
        "read",
        "filter",
        "exact",
        "near",
        "lines",
        "select",
        "tokenizer",
        "tokenise",
        "assemble",
    ]
    assert all(event.done == event.total for event in last.values())


def test_another_recipe_does_not_go_on_with_it(recipe: Path, tmp_path: Path) -> None:
    changed = load_recipe(recipe).model_copy(update={"seed": 5})
    with pytest.raises(Stopped):
        follow(recipe, tmp_path / "run", watcher=StopAfter(4))
    with pytest.raises(ConflictError):
        follow(changed, tmp_path / "run")


def test_a_full_disk_is_told(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts_module, "atomic_file", full)
    with pytest.raises(ResourceError, match="disk is full"):
        follow(recipe, tmp_path / "run")


def test_what_cannot_be_read_is_passed_over_and_told(tmp_path: Path) -> None:
    make_sources(tmp_path)
    raw = (tmp_path / "web.jsonl").read_bytes().split(b"\n")
    raw[4] = b'{"id": "broken'
    raw[9] = b'{"id": "x", "text": "\xff\xfe\xfa broken"}'
    (tmp_path / "web.jsonl").write_bytes(b"\n".join(raw))
    product = follow(tmp_path / "recipe.yaml", tmp_path / "run")
    sources = json.loads((product / layout.SOURCES).read_text("utf-8"))
    assert sources[0]["passed_over"] == 2
    assert sources[0]["problems"][0]["where"].endswith("5")
    page = (product / layout.PAGE).read_text("utf-8")
    assert sources[0]["problems"][0]["message"] in page


def test_no_text_at_all(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(" \n", "utf-8")
    (tmp_path / "recipe.yaml").write_text("sources: [{kind: files, path: texts}]", "utf-8")
    with pytest.raises(DataError, match="no text"):
        follow(tmp_path / "recipe.yaml", tmp_path / "run")


def test_without_a_tokenizer_there_are_documents_only(tmp_path: Path) -> None:
    make_sources(tmp_path)
    text = "sources: [{kind: table, path: books.jsonl}]\n"
    (tmp_path / "recipe.yaml").write_text(text, "utf-8")
    product = follow(tmp_path / "recipe.yaml", tmp_path / "run")
    assert len(table(product, layout.DOCUMENTS)) == 30
    assert not (product / layout.SHARDS).exists()
    assert json.loads((product / layout.FACTS).read_text("utf-8"))["shards"] is None


def test_a_damaged_part_is_named(recipe: Path, built: Path, tmp_path: Path) -> None:
    path = tmp_path / "000-00000.parquet"
    path.write_bytes(next((built / layout.DOCUMENTS).iterdir()).read_bytes()[:100])
    with pytest.raises(FormatError, match="000-00000"):
        layout.read_part(path)


def test_numbers_of_documents_are_of_all_parts(built: Path) -> None:
    """The third array counts documents through the parts, in the order of their names."""
    corpus = Corpus.open(built / layout.SHARDS)
    sizes = [len(part) for part in layout.iterate(built / layout.DOCUMENTS, ["id"])]
    assert len(sizes) > 3
    numbers = np.concatenate([shard.documents[:, 0] for shard in corpus.shards.shards])
    assert set(numbers.tolist()) == set(range(sum(sizes)))
