"""Frames a second of a job's chart with 100,000 measurements, while more come in and the mouse moves over it.

`python benchmarks/chart.py` starts a console and a Chromium of its own; needs the extra `dev`.
"""

from __future__ import annotations

import importlib
import json
import math
import statistics
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kajiya.core.events import EventLog, Metric
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import CONFIG_FILE, LOCK_FILE, State, Status, write_status

_support: Any = importlib.import_module("support.console")
POINTS, SECONDS, A_SECOND = 100_000, 8, 50
_FRAMES = """seconds => new Promise((done) => {
  const times = [];
  const end = performance.now() + 1000 * seconds;
  const frame = (now) => { times.push(now); now < end ? requestAnimationFrame(frame) : done(times); };
  requestAnimationFrame(frame);
})"""


def main() -> None:
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
            measure(console.url, job)


def measure(url: str, job: Path) -> None:
    with _support.open_browser() as browser, _support.open_tab(browser, url) as page:
        _support.sign_in_tab(page)
        began = time.perf_counter()
        page.goto(f"/jobs/{job.name}")
        page.locator(".u-over").wait_for()
        shown = time.perf_counter() - began
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
        times = page.evaluate(_FRAMES, SECONDS)
        stop.set()
        writer.join()
        gaps = [b - a for a, b in pairwise(times)]
        found = {
            "points": POINTS,
            "seconds_until_drawn": round(shown, 2),
            "frames_a_second": round(1000 * len(gaps) / sum(gaps), 1),
            "median_gap_ms": round(statistics.median(gaps), 1),
            "p99_gap_ms": round(sorted(gaps)[len(gaps) * 99 // 100], 1),
            "worst_gap_ms": round(max(gaps), 1),
        }
        print(json.dumps(found))


def _metric(step: int) -> Metric:
    return Metric(step=step, values={"loss": 3 / math.sqrt(step) + (step * 7919 % 100) / 300})


def _grow(job: Path, stop: threading.Event) -> None:
    log, step = EventLog(job / "events.jsonl"), POINTS
    while not stop.wait(1 / A_SECOND):
        step += 1
        log.append(_metric(step))


if __name__ == "__main__":
    main()
