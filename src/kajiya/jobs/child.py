"""The process of one job: `python -m kajiya.jobs.child FOLDER ENTRY LOCK`, started by a supervisor.

It inherits the job's lock as an open descriptor and holds it for as long as it lives, so that no
moment is left in which the job could be started twice or be taken for dead.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

from kajiya.core.errors import KajiyaError
from kajiya.core.events import Failure
from kajiya.core.files import write_json
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.jobs.kinds import load_entry
from kajiya.jobs.running import JobStopped, RunningJob
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import (
    CONFIG_FILE,
    RESULT_FILE,
    STATUS_FILE,
    JobFailure,
    State,
    Status,
    read_status,
    write_status,
)

_HEARTBEAT_SECONDS = 5.0
_TRACEBACK_CHARACTERS = 4000


class Terminated(BaseException):
    """A second request to stop: unwind at once, cleaning up but saving nothing."""


def main(folder: Path, entry: str, lock: int) -> int:
    """Run the job in `folder`; returns the exit status."""
    _keep_to_this_process(lock)
    # What a library will change in a later version is for its callers' tests, not for a job's log.
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    queued = read_status(folder)
    status = Status(
        state=State.RUNNING,
        attempt=queued.attempt if queued else 1,
        created=queued.created if queued else time.time(),
        started=time.time(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
    )
    job = RunningJob(
        folder, JobSpec.load(folder / CONFIG_FILE), status.attempt, Workspace.current()
    )
    signal.signal(signal.SIGTERM, lambda number, frame: _on_terminate(job, number, frame))
    write_status(folder, status)
    threading.Thread(target=_beat, args=(folder / STATUS_FILE,), daemon=True).start()

    state, error = _work(job, entry)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if error is not None:
        job.events.append(Failure(**error.model_dump(exclude={"traceback"})))
    write_status(
        folder,
        status.model_copy(update={"state": state, "error": error, "finished": time.time()}),
    )
    return 0 if state is State.SUCCEEDED else 1


def _keep_to_this_process(lock: int) -> None:
    """Processes that the work starts must not keep the job alive when this one is gone."""
    os.set_inheritable(lock, False)
    held = [lock]

    def let_go() -> None:
        if held:  # not in a fork of a fork, where the number may stand for another file
            os.close(held.pop())

    os.register_at_fork(after_in_child=let_go)


def _work(job: RunningJob, entry: str) -> tuple[State, JobFailure | None]:
    try:
        job.checkpoints.mkdir(exist_ok=True)
        write_json(job.folder / RESULT_FILE, load_entry(entry)(job))
    except (JobStopped, Terminated):
        stopped = State.CANCELLED if job.stop_reason == "cancel" else State.STOPPED
        return stopped, None
    except KajiyaError as error:
        print(error, file=sys.stderr, flush=True)
        return State.FAILED, JobFailure(**error.as_dict())
    except BaseException as error:
        traceback.print_exc()
        return State.FAILED, JobFailure(
            code="bug",
            message=f"{type(error).__name__}: {error}",
            fix=tr(
                f"the log has the details: kajiya jobs log {job.id}",
                f"詳しくはログを見てください: kajiya jobs log {job.id}",
            ),
            traceback=traceback.format_exc()[-_TRACEBACK_CHARACTERS:],
        )
    return State.SUCCEEDED, None


def _on_terminate(job: RunningJob, _number: int, _frame: FrameType | None) -> None:
    if job.should_stop():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated
    job.signals.terminate = True


def _beat(path: Path) -> None:
    """Touch the status now and then, to show that this process is not frozen."""
    while True:
        time.sleep(_HEARTBEAT_SECONDS)
        with suppress(OSError):
            os.utime(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
