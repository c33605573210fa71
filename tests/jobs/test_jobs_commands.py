"""`kajiya jobs` and the progress display (here, beside the fixtures of the jobs)."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kajiya.cli.jobs import jobs
from kajiya.cli.progress import duration, follow, printable, report_end
from kajiya.core.errors import JobError
from kajiya.core.events import ArtifactMade, EventLog, Log, Metric, Progress
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import JobFailure, State, Status, write_status
from kajiya.jobs.supervisor import Supervisor

JOB = "20261122-0914-count-k3f9"


@pytest.fixture
def folder(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that has succeeded."""
    monkeypatch.setenv("KAJIYA_HOME", str(supervisor.workspace.home))
    folder = supervisor.workspace.create().jobs / JOB
    folder.mkdir()
    JobSpec(kind="count", name="company-faq", options={"to": 2}).save(folder / "config.yaml")
    write_status(folder, Status(state=State.SUCCEEDED, created=1e9, started=1e9, finished=1e9 + 65))
    (folder / "result.json").write_text("{}")
    (folder / "log.txt").write_bytes(b"first\x1b[31m\r\nsecond \xff\n")
    events = EventLog(folder / "events.jsonl")
    events.append(Log(message="hello [red]there[/red]"))
    for step in range(1, 21):
        events.append(Metric(step=step, values={"loss": 1 / step, "tokens_per_second": 1234.5}))
        events.append(
            Progress(stage="train", done=step, total=20, unit="steps", remaining_seconds=61)
        )
    events.append(ArtifactMade(kind="adapter", reference="company-faq:1"))
    return folder


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(jobs, arguments, input=answer, catch_exceptions=False)


def failed(folder: Path) -> None:
    error = JobFailure(code="data", message="row 3", where="faq.csv", fix="mend it")
    write_status(folder, Status(state=State.FAILED, created=1e9, error=error))


def test_list(folder: Path) -> None:
    shown = run("list").output
    assert JOB in shown and "succeeded" in shown and "1:05" in shown
    assert json.loads(run("list", "--json").output)[0]["state"] == "succeeded"
    run("rm", JOB, "--yes")
    assert "no jobs" in run("list").output


def test_show(folder: Path) -> None:
    shown = run("show", "2026").output
    for words in ("succeeded", "company-faq:1", "20/20 steps", "0.05", "1:05"):
        assert words in shown
    values = json.loads(run("show", JOB, "--json").output)
    assert (values["step"], values["spec"]["options"]) == (20, {"to": 2})
    failed(folder)
    shown = run("show", JOB).output
    assert "row 3" in shown and "faq.csv" in shown and "mend it" in shown


def test_log_prints_nothing_that_moves_the_cursor(folder: Path) -> None:
    assert run("log", JOB).output == "first\nsecond \ufffd\n"


def test_following_without_a_terminal_gives_few_plain_lines(folder: Path) -> None:
    lines = run("log", "-f", JOB).output.splitlines()
    assert lines[0] == "hello [red]there[/red]"
    assert lines[-2:] == ["registered adapter company-faq:1", f"{JOB}: succeeded"]
    stages = [line for line in lines if line.startswith("training")]
    assert stages[-1] == "training  20/20 steps  loss 0.050  1,234 tokens/s"
    assert len(stages) == 11


def test_following_in_a_terminal_shows_bars(folder: Path, supervisor: Supervisor) -> None:
    file = io.StringIO()
    job = follow(supervisor, JOB, console=Console(file=file, force_terminal=True, width=120))
    shown = file.getvalue()
    for words in (
        "hello [red]there[/red]",
        "train",
        "20/20",
        "1:01 left",
        "loss 0.050",
        "1,234 tokens/s",
    ):
        assert words in shown
    assert job.state is State.SUCCEEDED


def test_a_loss_that_is_no_number_is_shown(folder: Path) -> None:
    events = EventLog(folder / "events.jsonl")
    events.append(Metric(step=21, values={"loss": float("nan")}))
    assert "nan" in run("show", JOB).output


def test_the_end_of_a_failed_job_is_its_error(
    folder: Path, supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(folder)
    with pytest.raises(JobError, match="row 3") as error:
        report_end(supervisor.get(JOB))
    assert error.value.fix == "mend it"
    write_status(folder, Status(state=State.CANCELLED, created=1e9))
    report_end(supervisor.get(JOB))
    assert f"kajiya jobs resume {JOB}" in capsys.readouterr().out


def test_leaving_the_display_leaves_the_job(supervisor: Supervisor) -> None:
    job = supervisor.start(JobSpec(kind="count", name="a", options={"to": 2, "pause_at": 1}))
    watcher = subprocess.Popen(
        [sys.executable, "-m", "kajiya.cli.main", "jobs", "log", "-f", job.id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=supervisor.workspace.environment(),
    )
    assert watcher.stdout
    assert watcher.stdout.readline() == "attempt 1 from 0\n"
    watcher.send_signal(signal.SIGINT)
    output, errors = watcher.communicate()
    assert f"kajiya jobs log -f {job.id}" in output
    assert (watcher.returncode, errors) == (0, "")
    assert supervisor.get(job.id).state is State.RUNNING


def test_cancel_resume_and_rm(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    # The command knows only the product's kinds; give it the tests' for the resumed process.
    monkeypatch.setattr("kajiya.cli.jobs._supervisor", lambda: supervisor)
    job = supervisor.start(JobSpec(kind="count", name="a", options={"to": 2, "pause_at": 1}))
    while not (job.folder / "checkpoints" / "number").exists():
        time.sleep(0.02)
    assert f"kajiya jobs resume {job.id}" in run("cancel", job.id).output
    (job.folder / "go").touch()
    output = run("resume", job.id).output
    assert "attempt 2 from 1" in output and "attempt 1" not in output
    assert output.endswith(f"{job.id}: succeeded\n")
    assert run("rm", job.id, answer="n\n").exit_code == 1
    run("rm", job.id, JOB, "--yes")
    assert supervisor.list() == []


@settings(deadline=None)
@given(st.text())
def test_printable_has_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert all(char.isprintable() or char not in "\x1b\r\x07\x08\x9b\u202e" for char in shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("日本\t語\n", "日本\t語\n"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0:00"), (65.4, "1:05"), (3723, "1:02:03")])
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
