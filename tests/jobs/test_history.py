"""What a job told, taken in piece by piece and thinned; the log in stretches; jobs a page at a time."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.core.events import EventLog, Metric, Progress, Sample
from kajiya.jobs.history import Histories, History, Series
from kajiya.jobs.job import Job
from kajiya.jobs.listing import PAGE, find_jobs
from kajiya.jobs.log_range import MOST, read_after, read_before
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import State


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    histories = Histories()
    for step in range(1, 4):
        log.append(Metric(step=step, values={"loss": 1 / step}))
        history = histories.of(log)
        assert history is histories.of(log)
        assert list(history.series["loss"].steps) == list(range(1, step + 1))
    assert history.position == log.path.stat().st_size
    log.append(Progress(stage="train", done=3, total=9))
    assert histories.of(log).summary.stages["train"].total == 9


def test_a_large_file_is_taken_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kajiya.jobs.history._PIECE", 100)
    log = EventLog(tmp_path / "events.jsonl")
    for step in range(1, 60):
        log.append(Metric(step=step, values={"loss": float(step)}))
    with log.path.open("ab") as file:
        file.write(b'{"type": "metric", "st')  # torn
    history = History()
    history.catch_up(log)
    assert list(history.series["loss"].values) == [float(step) for step in range(1, 60)]


def test_a_resumed_job_replaces_what_it_does_again(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for step in (1, 2, 3, 4):
        log.append(Metric(step=step, values={"loss": 1.0}))
        log.append(Sample(step=step, question="a", answer="old"))
        log.append(Sample(step=step, question="b", answer="old"))
    for step in (3, 4, 5):
        log.append(Metric(step=step, values={"loss": 2.0}))
        log.append(Sample(step=step, question="a", answer="new"))
        log.append(Sample(step=step, question="b", answer="new"))
    history = History()
    history.catch_up(log)
    assert list(history.series["loss"].steps) == [1, 2, 3, 4, 5]
    assert list(history.series["loss"].values) == [1, 1, 2, 2, 2]
    assert [(s.step, s.question) for s in history.samples] == [
        (step, question) for step in (1, 2, 3, 4, 5) for question in "ab"
    ]
    assert {s.answer for s in history.samples if s.step >= 3} == {"new"}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(2, 60))
def test_thinning_keeps_extremes_and_order(values: list[float], most: int) -> None:
    series = Series()
    for step, value in enumerate(values, start=1):
        series.add(step, value)
    steps, kept = series.thinned(most)
    assert len(steps) <= max(most, 2)
    assert steps == sorted(set(steps))
    assert (min(kept), max(kept)) == (min(values), max(values))
    assert all(values[int(step) - 1] == value for step, value in zip(steps, kept, strict=True))
    if len(values) <= most:
        assert kept == values


def test_what_is_no_number_stays_visible_and_a_part_can_be_asked_for() -> None:
    series = Series()
    for step in range(1, 1001):
        series.add(step, math.nan if step == 400 else step)
    assert any(math.isnan(value) for value in series.thinned(20)[1])
    assert series.thinned(100, 500, 549)[0] == list(range(500, 550))


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    lines = [f"{number:07d} 行\n" for number in range(40_000)]
    path.write_text("".join(lines), encoding="utf-8")
    found = read_before(path)
    assert found.end == found.size == path.stat().st_size
    assert MOST - 100 < found.end - found.start <= MOST
    parts = [found.text]
    while found.start:
        found = read_before(path, found.start)
        parts.insert(0, found.text)
    assert "".join(parts) == "".join(lines)
    with path.open("a") as file:
        file.write("more\nand un")
    after = read_after(path, found.size)
    assert (after.text, after.end) == ("more\n", found.size + 5)
    assert read_after(path, after.end).text == ""


def test_a_log_is_text_for_people(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"\x1b[31mred\x1b[0m\r10%\r20%\nbroken \xff\n")
    assert read_before(path).text == "red\n10%\n20%\nbroken �\n"
    assert read_before(tmp_path / "none").text == ""
    assert read_before(path, -5).text == read_after(path, 10**12).text == ""
    long = tmp_path / "long.txt"
    long.write_bytes(b"x" * (3 * MOST))  # a line without an end
    assert len(read_before(long).text) == MOST
    assert len(read_after(long, 0).text) == MOST


def job(number: int, state: State, kind: str = "forge") -> Job:
    return Job(
        folder=Path(f"/jobs/20261122-{number:04d}-{kind}-abcd"),
        spec=JobSpec(kind=kind, name=f"model-{number % 10}", options={}),
        state=state,
        attempt=1,
        created=number,
        started=None,
        finished=None,
        pid=None,
        error=None,
    )


def test_jobs_come_newest_first_and_by_what_is_looked_for() -> None:
    jobs = [job(n, State.FAILED if n % 7 == 0 else State.SUCCEEDED) for n in range(500)]
    first = find_jobs(jobs)
    assert (len(first.jobs), first.number, first.pages, first.total) == (PAGE, 1, 10, 500)
    assert first.jobs[0].created == 499
    assert find_jobs(jobs, page=10).jobs[-1].created == 0
    assert find_jobs(jobs, page=99).number == 10
    assert find_jobs(jobs, page=-3).number == 1
    assert find_jobs(jobs, state="failed").total == 72
    assert find_jobs(jobs, text=" MODEL-3 ").total == 50
    assert find_jobs(jobs, text="20261122-0042").total == 1
    assert find_jobs(jobs, kind="tune").jobs == ()
    assert find_jobs([]).pages == 1
