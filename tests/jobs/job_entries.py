"""Work for jobs in tests; runs in the jobs' own processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kajiya.core.errors import DataError
from kajiya.jobs.running import JobStopped, RunningJob

TICK = 0.02


def count(job: RunningJob) -> dict[str, Any]:
    """Count to `to`, keeping the number in a checkpoint; `pause_at` waits for a file `go`."""
    kept = job.checkpoints / "number"
    number = int(kept.read_text()) if kept.exists() else 0
    job.log(f"attempt {job.attempt} from {number}")
    while number < job.spec.options["to"]:
        number += 1
        kept.write_text(str(number))
        job.metric(number, loss=1 / number, tokens_per_second=100)
        job.progress("count", number, job.spec.options["to"], unit="n")
        while number == job.spec.options.get("pause_at") and not (job.folder / "go").exists():
            if job.should_stop():
                (job.checkpoints / "saved").write_text(job.stop_reason)
                raise JobStopped
            time.sleep(TICK)
    job.artifact("adapter", "counted:1")
    return {"number": number}


def stubborn(job: RunningJob) -> dict[str, Any]:
    """Ignores every polite request, and so does its child; a grandchild leaves the session."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep = (
        "import time, signal; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    )
    pids = []
    for own_session in (False, True):
        process = subprocess.Popen(
            [sys.executable, "-c", sleep], stdout=subprocess.PIPE, start_new_session=own_session
        )
        assert process.stdout
        process.stdout.readline()
        pids.append(process.pid)
    (job.folder / "pids").write_text(" ".join(map(str, pids)))
    while True:
        time.sleep(TICK)


def deaf(job: RunningJob) -> dict[str, Any]:
    """Notices that it should stop and goes on; cleans up when it is unwound."""
    try:
        job.log("deaf")
        while True:
            if job.should_stop():
                (job.folder / "noticed").touch()
            time.sleep(TICK)
    finally:
        (job.folder / "cleaned").touch()


def wrong_data(job: RunningJob) -> dict[str, Any]:
    raise DataError("row 3 is empty", where="faq.csv", fix="fill it in")


def bug(job: RunningJob) -> dict[str, Any]:
    raise ZeroDivisionError("oh")


def no_json(job: RunningJob) -> dict[str, Any]:
    return {"path": Path()}


def forks(job: RunningJob) -> dict[str, Any]:
    """Leaves a forked process behind and dies without a word."""
    if job.attempt > 1:
        return {}
    child = os.fork()
    if child == 0:
        time.sleep(600)
    (job.folder / "pids").write_text(str(child))
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def environment(job: RunningJob) -> dict[str, Any]:
    return {
        "home": str(job.workspace.home),
        "session": os.getsid(0) == os.getpid(),
        "stdin": sys.stdin.read(),
        "torch": "torch" in sys.modules,
        "safe_path": sys.flags.safe_path,
    }
