"""Jobs outlive everybody, end when asked, and can be picked up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from kajiya.core.errors import ConfigError, ConflictError, FormatError, NotFoundError
from kajiya.core.events import Failure, Metric
from kajiya.core.workspace import Workspace
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import State
from kajiya.jobs.summary import summarise
from kajiya.jobs.supervisor import Supervisor

Eventually = Callable[[Callable[[], bool]], None]


def spec(kind: str, **options: Any) -> JobSpec:
    return JobSpec(kind=kind, name="company-faq", options=options)


@pytest.fixture
def paused(supervisor: Supervisor, eventually: Eventually) -> Job:
    """A job that has counted to 3 of 6 and waits there."""
    job = supervisor.start(spec("count", to=6, pause_at=3))
    eventually(lambda: (job.folder / "checkpoints" / "number").exists())
    eventually(lambda: (job.folder / "checkpoints" / "number").read_text() == "3")
    return supervisor.get(job.id)


def steps(job: Job) -> list[int]:
    return [event.step for event in job.events if isinstance(event, Metric)]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_job_runs_to_its_end(supervisor: Supervisor) -> None:
    job = supervisor.start(spec("count", to=3))
    assert job.state in (State.QUEUED, State.RUNNING, State.SUCCEEDED)
    job = supervisor.wait(job.id)
    assert (job.state, job.attempt, job.error) == (State.SUCCEEDED, 1, None)
    assert job.result == {"number": 3}
    assert job.spec == spec("count", to=3)
    assert job.started and job.finished and job.created <= job.started <= job.finished
    assert job.log_file.read_text() == "attempt 1 from 0\n"
    summary = summarise(job.events)
    assert summary.stages["count"].done == 3
    assert (summary.step, summary.metrics["tokens_per_second"]) == (3, 100)
    assert [event.reference for event in summary.artifacts] == ["counted:1"]
    assert [found.id for found in supervisor.list()] == [job.id]


def test_a_job_has_a_session_of_its_own_and_no_input(supervisor: Supervisor) -> None:
    job = supervisor.wait(supervisor.start(spec("environment")).id)
    assert job.result is not None
    assert job.result == {
        "home": str(supervisor.workspace.home),
        "session": True,
        "stdin": "",
        "torch": False,
        "safe_path": True,
    }


def test_a_users_mistake_ends_without_a_traceback(supervisor: Supervisor) -> None:
    job = supervisor.wait(supervisor.start(spec("wrong-data")).id)
    assert job.state is State.FAILED and job.error
    assert job.error.model_dump() == {
        "code": "data",
        "message": "row 3 is empty",
        "where": "faq.csv",
        "fix": "fill it in",
        "traceback": "",
    }
    assert job.result is None
    assert "Traceback" not in job.log_file.read_text()
    assert isinstance(list(job.events)[-1], Failure)


def test_a_bug_keeps_its_traceback(supervisor: Supervisor) -> None:
    words = {"bug": "ZeroDivisionError: oh", "no-json": "TypeError", "not-there": "AttributeError"}
    for job_id, expected in [(supervisor.start(spec(kind)).id, words[kind]) for kind in words]:
        job = supervisor.wait(job_id)
        assert job.state is State.FAILED and job.error
        assert job.error.code == "bug"
        assert expected in job.error.message
        assert "Traceback" in job.error.traceback
        assert "Traceback" in job.log_file.read_text()


def test_only_known_kinds_run(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigError) as unknown:
        supervisor.start(spec("posix"))
    assert "count" in unknown.value.fix
    for kind in ("os:system", "../count", ""):
        with pytest.raises(ConfigError):
            spec(kind)
    assert supervisor.list() == []


def test_a_killed_job_is_lost_and_resumes_where_it_was(supervisor: Supervisor, paused: Job) -> None:
    assert paused.pid
    os.kill(paused.pid, signal.SIGKILL)
    lost = supervisor.wait(paused.id)
    assert lost.state is State.LOST and lost.error
    assert "attempt 1 from 0" in lost.error.traceback
    (paused.folder / "go").touch()
    job = supervisor.wait(supervisor.resume(paused.id).id)
    assert (job.id, job.state, job.attempt) == (paused.id, State.SUCCEEDED, 2)
    assert steps(job) == [1, 2, 3, 4, 5, 6]
    assert job.log_file.read_text() == "attempt 1 from 0\nattempt 2 from 3\n"


PARENT = """
import sys, time
from pathlib import Path
from kajiya.core.workspace import Workspace
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
supervisor = Supervisor(Workspace(Path(sys.argv[1])), {"count": "job_entries:count"})
print(supervisor.start(JobSpec(kind="count", name="a", options={"to": 6, "pause_at": 3})).id, flush=True)
time.sleep(600)
"""


def test_a_job_outlives_its_parent_and_is_followed_by_another(
    workspace: Workspace, supervisor: Supervisor
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(workspace.home)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    job_id = parent.stdout.readline().strip()
    parent.kill()
    parent.communicate()
    events = supervisor.follow(job_id)
    seen = []
    for event in events:
        if isinstance(event, Metric):
            seen.append(event.step)
            if event.step == 3:
                assert not supervisor.get(job_id).ended
                (workspace.jobs / job_id / "go").touch()
    assert seen == [1, 2, 3, 4, 5, 6]
    assert supervisor.get(job_id).state is State.SUCCEEDED


def test_following_from_a_position_gives_each_event_once(
    supervisor: Supervisor, paused: Job
) -> None:
    first, position = paused.events.read()
    (paused.folder / "go").touch()
    rest = list(supervisor.follow(paused.id, position))
    assert first and rest
    assert [*first, *rest] == list(paused.events)


def test_cancelling_lets_the_job_save(supervisor: Supervisor, paused: Job) -> None:
    job = supervisor.cancel(paused.id)
    assert job.state is State.CANCELLED
    assert (job.folder / "checkpoints" / "saved").read_text() == "cancel"
    with pytest.raises(ConflictError, match="cancelled"):
        supervisor.cancel(paused.id)
    (paused.folder / "go").touch()
    resumed = supervisor.wait(supervisor.resume(paused.id).id)
    assert (resumed.state, resumed.attempt) == (State.SUCCEEDED, 2)


def test_a_signal_lets_the_job_save(supervisor: Supervisor, paused: Job) -> None:
    assert paused.pid
    os.kill(paused.pid, signal.SIGTERM)
    job = supervisor.wait(paused.id)
    assert job.state is State.STOPPED
    assert (job.folder / "checkpoints" / "saved").read_text() == "terminate"


def test_a_second_signal_ends_the_job_at_once_but_tidily(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    job = supervisor.start(spec("deaf"))
    eventually(lambda: "deaf" in job.log_file.read_text())
    pid = supervisor.get(job.id).pid
    assert pid
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: (job.folder / "noticed").exists())
    assert supervisor.get(job.id).state is State.RUNNING
    os.kill(pid, signal.SIGTERM)
    assert supervisor.wait(job.id).state is State.STOPPED
    assert (job.folder / "cleaned").exists()


def test_a_job_that_does_not_listen_is_ended_after_the_grace(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    job = supervisor.start(spec("deaf"))
    eventually(lambda: "deaf" in job.log_file.read_text())
    job = supervisor.cancel(job.id, grace_seconds=0.1)
    assert job.state is State.CANCELLED
    assert (job.folder / "cleaned").exists()


def test_a_job_that_ignores_signals_is_killed_with_all_it_started(
    supervisor: Supervisor, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kajiya.jobs.supervisor._TERMINATE_SECONDS", 0.1)
    job = supervisor.start(spec("stubborn"))
    eventually(lambda: (job.folder / "pids").exists())
    pids = [int(pid) for pid in (job.folder / "pids").read_text().split()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    assert supervisor.cancel(job.id, grace_seconds=0.1).state is State.CANCELLED
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_a_forked_process_does_not_keep_a_dead_job_alive(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    job = supervisor.wait(supervisor.start(spec("forks")).id)
    assert job.state is State.LOST
    pid = int((job.folder / "pids").read_text())
    assert alive(pid)
    assert supervisor.wait(supervisor.resume(job.id).id).state is State.SUCCEEDED
    eventually(lambda: not alive(pid))


def test_of_two_resumes_at_once_one_is_refused(supervisor: Supervisor, paused: Job) -> None:
    supervisor.cancel(paused.id)
    outcomes: list[object] = []
    barrier = threading.Barrier(2)

    def resume() -> None:
        barrier.wait()
        try:
            outcomes.append(supervisor.resume(paused.id))
        except ConflictError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "Job"]
    assert supervisor.get(paused.id).attempt == 2


def test_what_runs_or_has_succeeded_is_not_resumed_and_what_runs_not_removed(
    supervisor: Supervisor, paused: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kajiya.jobs.supervisor._LOOK_SECONDS", 0.1)
    for refused in (supervisor.resume, supervisor.remove):
        with pytest.raises(ConflictError, match="running"):
            refused(paused.id)
    (paused.folder / "go").touch()
    supervisor.wait(paused.id)
    with pytest.raises(ConflictError, match="succeeded"):
        supervisor.resume(paused.id)
    supervisor.remove(paused.id)
    assert supervisor.list() == []
    assert not paused.folder.exists()


def test_getting(supervisor: Supervisor) -> None:
    for name in ("20261122-0914-forge-k3f9", "20261122-0914-forge-k3", "20261123-0000-forge-aaaa"):
        (supervisor.workspace.create().jobs / name).mkdir()
    assert supervisor.get("20261122-0914-forge-k3").id == "20261122-0914-forge-k3"
    assert supervisor.get("20261122-0914-forge-k3f").id == "20261122-0914-forge-k3f9"
    assert supervisor.get("20261123").id == "20261123-0000-forge-aaaa"
    with pytest.raises(ConflictError, match="k3f9"):
        supervisor.get("20261122")
    with pytest.raises(NotFoundError):
        supervisor.get("20000101")


@pytest.mark.parametrize(
    "job_id", ["..", "../artifacts", "a/../b", "/etc", "", ".x", "a\0", "日本"]
)
def test_ids_that_could_leave_the_folder_are_refused(supervisor: Supervisor, job_id: str) -> None:
    supervisor.workspace.create()
    for refused in (supervisor.get, supervisor.resume, supervisor.cancel, supervisor.remove):
        with pytest.raises(ConfigError):
            refused(job_id)


def test_a_link_is_no_job(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.workspace.create()
    (supervisor.workspace.jobs / "link").symlink_to(tmp_path)
    assert supervisor.list() == []
    with pytest.raises(NotFoundError):
        supervisor.remove("link")


@pytest.fixture
def folder(supervisor: Supervisor) -> Path:
    """The folder of a job that never ran."""
    folder = supervisor.workspace.create().jobs / "20261122-0914-count-k3f9"
    folder.mkdir()
    spec("count", to=2).save(folder / "config.yaml")
    return folder


def test_a_damaged_status_is_a_lost_job_that_resumes(supervisor: Supervisor, folder: Path) -> None:
    for text in ("", "garbage", "[]", '{"state": "dancing"}', "\0\xff", None):
        if text is None:
            (folder / "status.json").unlink()
        else:
            (folder / "status.json").write_text(text)
        job = supervisor.get(folder.name)
        assert job.state is State.LOST and job.error
    assert supervisor.wait(supervisor.resume(folder.name).id).state is State.SUCCEEDED


def test_a_running_job_with_a_damaged_status_can_be_cancelled(
    supervisor: Supervisor, eventually: Eventually
) -> None:
    job = supervisor.start(spec("deaf"))
    eventually(lambda: "deaf" in job.log_file.read_text())
    (job.folder / "status.json").write_text("garbage")
    assert supervisor.get(job.id).state is State.RUNNING
    assert supervisor.cancel(job.id, grace_seconds=0.1).state is State.CANCELLED


def test_a_damaged_configuration_is_explained(supervisor: Supervisor, folder: Path) -> None:
    (folder / "config.yaml").write_text("kind: [")
    assert supervisor.get(folder.name).spec is None
    with pytest.raises(FormatError, match=r"config\.yaml"):
        supervisor.resume(folder.name)


def test_an_empty_folder_is_a_lost_job(supervisor: Supervisor) -> None:
    supervisor.workspace.create()
    (supervisor.workspace.jobs / "empty").mkdir()
    job = supervisor.get("empty")
    assert (job.state, job.spec, job.result) == (State.LOST, None, None)
    supervisor.remove("empty")
    assert supervisor.list() == []


def test_a_job_touches_its_status_while_it_lives(supervisor: Supervisor, paused: Job) -> None:
    assert paused.heartbeat
    status = json.loads((paused.folder / "status.json").read_text())
    assert status["pid"] == paused.pid
    assert status["process_started"] <= paused.heartbeat + 1
