"""Starting, watching, stopping and resuming jobs. Any process may do each of these to any job.

A supervisor keeps no state: it can die, and another one finds every job again from its folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from kajiya.core.errors import ConflictError, FormatError, JobError, NotFoundError
from kajiya.core.events import Event
from kajiya.core.files import atomic_folder, check_name, is_name
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.jobs import processes
from kajiya.jobs.job import Job, read_job
from kajiya.jobs.kinds import FINISHABLE, KINDS, entry_of
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import (
    CHECKPOINTS,
    CONFIG_FILE,
    FINISH_FILE,
    LOCK_FILE,
    LOG_FILE,
    STOP_FILE,
    State,
    Status,
    request_finish,
    request_stop,
    write_status,
)

_POLL_SECONDS = 0.1
_TERMINATE_SECONDS = 5.0
_KILL_SECONDS = 5.0
_LOOK_SECONDS = 1.0  # those who look at a job hold its lock for an instant
_CLOSING_SECONDS = 10.0  # between a process's last status and its end, libraries clean up
_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike

Jobs: TypeAlias = list[Job]


class Supervisor:
    """The jobs of one workspace. `kinds` maps a kind to the `module:function` that it runs."""

    def __init__(self, workspace: Workspace, kinds: Mapping[str, str] = KINDS) -> None:
        # Absolute, because the jobs' processes work in another folder than this one.
        self.workspace = Workspace(workspace.home.absolute())
        self._root = self.workspace.jobs
        self._kinds = kinds

    # Starting

    def start(self, spec: JobSpec) -> Job:
        """Begin a job and return at once. Raises `ConfigError` if there is no such kind."""
        entry = entry_of(spec.kind, self._kinds)
        self.workspace.create()
        folder = self._root / _new_id(spec.kind)
        with ExitStack() as held:
            # Locked before it can be seen: a job that is queued and not locked is a lost one.
            with atomic_folder(folder) as scratch:
                spec.save(scratch / CONFIG_FILE)
                write_status(scratch, Status(state=State.QUEUED, created=time.time()))
                lock = held.enter_context(locked(scratch / LOCK_FILE))
            self._spawn(folder, entry, lock)
        return read_job(folder)

    def resume(self, job_id: str) -> Job:
        """Go on with a job that failed or was stopped, in its folder, from its checkpoints.

        Raises `ConflictError` if it has succeeded, is running, or another resumes it at this moment.
        """
        job = self.get(job_id)
        if job.spec is None:
            raise FormatError(
                tr("the job's configuration is damaged", "ジョブの設定ファイルが壊れています"),
                where=str(job.folder / CONFIG_FILE),
                fix=tr("start a new job", "新しいジョブを始めてください"),
            )
        entry = entry_of(job.spec.kind, self._kinds)
        try:
            with _claimed(job) as lock:
                now = read_job(job.folder)
                # With the lock in our hands the job is no more than what its status last said.
                if not job.state.resumable:
                    raise _conflict(job)
                if now.attempt != job.attempt:
                    raise ConflictError(
                        tr("another resumed it at this moment", "ちょうど別の操作で再開されました"),
                        where=job.id,
                        fix=_how_to_follow(job),
                    )
                processes.sweep(job.folder)
                for request in (STOP_FILE, FINISH_FILE):
                    (job.folder / request).unlink(missing_ok=True)
                write_status(
                    job.folder,
                    Status(state=State.QUEUED, attempt=job.attempt + 1, created=job.created),
                )
                self._spawn(job.folder, entry, lock)
        except TimeoutError:
            raise _conflict(self.get(job.id)) from None
        return read_job(job.folder)

    def _spawn(self, folder: Path, entry: str, lock: int) -> None:
        environment = self.workspace.environment() | {
            processes.MARK: str(folder),
            "PYTHONUNBUFFERED": "1",
        }
        # -P: nothing that lies in the working folder can stand in for a module.
        command = [sys.executable, "-P", "-m", "kajiya.jobs.child", str(folder), entry, str(lock)]
        with (folder / LOG_FILE).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment,
                pass_fds=(lock,),
                start_new_session=True,
            )
        # So that a job which ends before its parent does not stay behind as a zombie.
        threading.Thread(target=process.wait, daemon=True).start()

    # Finding

    def get(self, job_id: str) -> Job:
        """A job by its id or the beginning of it; raises `NotFoundError` or `ConflictError`."""
        check_name(job_id, "job id")
        matching = [folder for folder in self._folders() if folder.name.startswith(job_id)]
        exact = [folder for folder in matching if folder.name == job_id]
        if len(exact or matching) > 1:
            names = ", ".join(folder.name for folder in matching[:5])
            raise ConflictError(
                tr(
                    f"several jobs begin like this: {names}",
                    f"複数のジョブが当てはまります: {names}",
                ),
                where=job_id,
                fix=tr("give more of the id", "ID をもう少し長く書いてください"),
            )
        if not matching:
            raise NotFoundError(
                tr(f"there is no job {job_id}", f"ジョブ {job_id} はありません"),
                where=job_id,
                fix=tr("see them all: kajiya jobs list", "一覧: kajiya jobs list"),
            )
        return read_job((exact or matching)[0])

    def list(self) -> Jobs:
        """All jobs, oldest first."""
        jobs = []
        for folder in self._folders():
            with suppress(NotFoundError):  # removed since
                jobs.append(read_job(folder))
        return sorted(jobs, key=lambda job: (job.created, job.id))

    def _folders(self) -> tuple[Path, ...]:
        try:
            with os.scandir(self._root) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and is_name(entry.name)
                ]
        except FileNotFoundError:
            return ()
        return tuple(self._root / name for name in sorted(names))

    # Watching

    def wait(self, job_id: str, timeout_seconds: float | None = None) -> Job:
        """Return when the job has ended, or after the timeout, as it is then."""
        job = self.get(job_id)
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not job.ended and (deadline is None or time.monotonic() < deadline):
            time.sleep(_POLL_SECONDS)
            job = read_job(job.folder)
        return job

    def follow(self, job_id: str, position: int = 0) -> Iterator[Event]:
        """The job's events from byte `position` of its log on, as they come, until it ends."""
        job = self.get(job_id)
        while True:
            ended = read_job(job.folder).ended  # before reading, so that the last are not missed
            events, position = job.events.read(position)
            yield from events
            if ended:
                return
            if not events:
                time.sleep(_POLL_SECONDS)

    # Ending

    def finish(self, job_id: str) -> Job:
        """Have a training end now with what it has learnt, and the job go on to its result.

        Returns at once. Raises `ConflictError` if it has ended, or is of a kind that cannot.
        """
        job = self.get(job_id)
        if job.ended or job.state is State.STOPPING:
            raise _conflict(job)
        if job.spec is None or job.spec.kind not in FINISHABLE:
            raise ConflictError(
                tr(
                    "only a tuning can end early with a result",
                    "途中で完成させられるのはチューニングのジョブだけです",
                ),
                where=job.id,
                fix=tr(
                    f"stop it: kajiya jobs cancel {job.id}",
                    f"止める: kajiya jobs cancel {job.id}",
                ),
            )
        request_finish(job.folder)
        return read_job(job.folder)

    def cancel(self, job_id: str, grace_seconds: float = 30.0) -> Job:
        """Have the job save and end; after the grace, end it and all that it started.

        Waits until it has ended. Raises `ConflictError` if it had ended before.
        """
        job = self.get(job_id)
        if job.ended:
            raise _conflict(job)
        request_stop(job.folder)
        job = self.wait(job.id, grace_seconds)
        if not job.ended:
            processes.terminate(job.folder, job.pid)
            job = self.wait(job.id, _TERMINATE_SECONDS)
        if not job.ended:
            processes.kill(job.folder, job.pid)
            job = self.wait(job.id, _KILL_SECONDS)
        if not job.ended:
            raise JobError(
                tr("the process does not end", "プロセスが終了しません"),
                where=f"{job.id} (pid {job.pid})",
                fix=tr(
                    "it waits for a disk or a device; it ends when that answers",
                    "ディスクなどの応答を待っています。応答があれば終了します",
                ),
            )
        processes.sweep(job.folder)
        return job

    def remove(self, job_id: str) -> None:
        """Delete a job that has ended, with its checkpoints; raises `ConflictError` if it has not."""
        job = self.get(job_id)
        try:
            with _claimed(job):
                # Out of sight in one step, so that no half-deleted job can be seen or resumed.
                grave = job.folder.rename(job.folder.with_name(f".{job.id}.removed.tmp"))
        except TimeoutError:
            raise _conflict(self.get(job.id)) from None
        shutil.rmtree(grave)

    def remove_checkpoints(self, job_id: str) -> None:
        """Delete what a job that has ended could go on from; raises `ConflictError` if it has not."""
        job = self.get(job_id)
        try:
            with _claimed(job):
                shutil.rmtree(job.folder / CHECKPOINTS, ignore_errors=True)
        except TimeoutError:
            raise _conflict(self.get(job.id)) from None


def _claimed(job: Job) -> AbstractContextManager[int]:
    """The job's lock, which only a job that has ended gives; raises `TimeoutError`."""
    return locked(job.folder / LOCK_FILE, _CLOSING_SECONDS if job.ended else _LOOK_SECONDS)


def _new_id(kind: str) -> str:
    """Sorts by time and is short enough to read out: `20261122-0914-forge-k3f9`."""
    letters = "".join(secrets.choice(_ID_LETTERS) for _ in range(4))
    return f"{datetime.now().astimezone():%Y%m%d-%H%M}-{kind[:20]}-{letters}"


def _how_to_follow(job: Job) -> str:
    command = f"kajiya jobs log -f {job.id}"
    return tr(f"follow it: {command}", f"経過を見る: {command}")


def _conflict(job: Job) -> ConflictError:
    fixes = {
        State.SUCCEEDED: tr("start a new job", "新しいジョブを始めてください"),
        State.QUEUED: _how_to_follow(job),
        State.RUNNING: _how_to_follow(job),
        State.STOPPING: tr("wait until it has ended", "終わるまで待ってください"),
    }
    return ConflictError(
        tr(f"the job is {job.state.label}", f"ジョブは「{job.state.label}」です"),
        where=job.id,
        fix=fixes.get(job.state, ""),
    )
