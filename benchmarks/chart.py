"""Frames a second of a job's chart with 100,000 measurements, while more come in and the mouse moves over it.

Starts a console and a Chromium of its own; the peer is `kajiya`'s own limit from the mission. Needs the extra `dev`.
"""

from __future__ import annotations

import importlib
import math
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import Result, options, report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kajiya.core.events import EventLog, Metric
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import CONFIG_FILE, LOCK_FILE, State, Status, write_status

_support: Any = importlib.import_module("support.console")
POINTS, A_SECOND = 100_000, 50
LIMIT = 30.0  # frames a second
_FRAMES = """seconds => new Promise((done) => {
  const times = [];
  const end = performance.now() + 1000 * seconds;
  const frame = (now) => { times.push(now); now < end ? requestAnimationFrame(frame) : done(times); };
  requestAnimationFrame(frame);
})"""


def main() -> None:
    arguments = options(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        job = Workspace(home).create().jobs / "20261122-1000-forge-long"
        job.mkdir()
        JobSpec(kind="forge", name="long").save(job / CONFIG_FILE)
        write_status(job, Status(state=State.RUNNING, created=time.time(), started=time.time()))
        with (job / "events.jsonl").open("w", encoding="utf-8") as file:
            for step in range(1, POINTS + 1):
                file.write(_metric(step).model_dump_json() + "\n")
        with locked(job / LOCK_FILE), _support.running_console(home) as console:
            console.reader().first_start(console.first_url).close()
            frames, gap = measure(console.url, job, 3 if arguments.quick else 8)
    what, limit = f"console: a chart of {POINTS} points", "the limit"
    report(
        [
            Result(what, "frames/s", frames, LIMIT, limit, frames / LIMIT, 1.0),
            Result(
                f"{what}, 99th percentile", "ms", gap, 1000 / LIMIT, limit, 1000 / LIMIT / gap, None
            ),
        ],
        arguments.json,
    )


def measure(url: str, job: Path, seconds: int) -> tuple[float, float]:
    """Frames a second, and the 99th percentile of the milliseconds between two."""
    with _support.open_browser() as browser, _support.open_tab(browser, url) as page:
        _support.sign_in_tab(page)
        page.goto(f"/jobs/{job.name}")
        page.locator(".u-over").wait_for()
        stop = threading.Event()
        writer = threading.Thread(target=_grow, args=(job, stop))
        writer.start()
        box = page.locator(".u-over").bounding_box()
        assert box is not None
        page.evaluate(
            "([x, y, width]) => { let n = 0; setInterval(() => document.querySelector('.u-over')"
            ".dispatchEvent(new MouseEvent('mousemove', { clientX: x + (n += 7) % width,"
            " clientY: y + 50, bubbles: true })), 16); }",
            [box["x"], box["y"], box["width"]],
        )
        times = page.evaluate(_FRAMES, seconds)
        stop.set()
        writer.join()
    gaps = sorted(b - a for a, b in pairwise(times))
    return 1000 * len(gaps) / sum(gaps), gaps[len(gaps) * 99 // 100]


def _metric(step: int) -> Metric:
    return Metric(step=step, values={"loss": 3 / math.sqrt(step) + (step * 7919 % 100) / 300})


def _grow(job: Path, stop: threading.Event) -> None:
    log, step = EventLog(job / "events.jsonl"), POINTS
    while not stop.wait(1 / A_SECOND):
        step += 1
        log.append(_metric(step))


if __name__ == "__main__":
    main()
