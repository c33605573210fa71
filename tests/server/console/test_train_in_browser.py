"""Pages of files, datasets and jobs in a browser, with much on them; a training from end to end is in `test_story`."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kajiya.core.events import EventLog, Log, Metric, Progress, Sample
from kajiya.core.workspace import Workspace
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import CONFIG_FILE, JobFailure, State, Status, write_status
from support.console import RunningConsole, drop, open_tab, running_console, sign_in_tab, wait_until
from support.looks import clipped, violations
from support.tiny_models import register_base

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "company-faq"
SLOW = 90_000  # milliseconds, for what starts a process
LOOKS = [(language, dark) for language in ("en", "ja") for dark in (False, True)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a tiny base model and jobs of all kinds."""
    home = tmp_path_factory.mktemp("browser") / "home"
    register_base(Workspace(home).create())
    return home


@pytest.fixture(scope="module")
def console(home: Path) -> Iterator[RunningConsole]:
    with running_console(home) as made:
        made.reader().first_start(made.first_url).close()
        yield made


def make_job(home: Path, job: str, state: State, points: int, words: str = "a line") -> str:
    """A job of many measurements."""
    folder = home / "jobs" / job
    folder.mkdir(parents=True)
    JobSpec(kind="forge", name="made", options={"tune": {"epochs": 3}}).save(folder / CONFIG_FILE)
    failure = JobFailure(code="bug", message=words, fix="do this", traceback="Traceback\n  …")
    write_status(
        folder,
        Status(
            state=state,
            created=time.time(),
            started=1.0,
            finished=None if state is State.RUNNING else 99.0,
            error=failure if state is State.FAILED else None,
        ),
    )
    with (folder / "events.jsonl").open("w", encoding="utf-8") as file:
        for step in range(1, points + 1):
            values = {"loss": 3 / math.sqrt(step) + (step * 7919 % 100) / 300}
            file.write(Metric(step=step, values=values).model_dump_json() + "\n")
    log = EventLog(folder / "events.jsonl")
    log.append(Metric(step=points, values={"held_out_loss": 1.0, "tokens_per_second": 210.0}))
    log.append(Progress(stage="train", done=points, total=points, unit="step"))
    for step in (0, points):
        log.append(Sample(step=step, question="始業は何時ですか。", answer=words, expected="8時"))
    log.append(Log(message=words))
    (folder / "log.txt").write_text("line\n" * 2_000_000)  # 10 MB
    return job


def test_a_hundred_thousand_points_and_ten_megabytes(
    browser: Browser, console: RunningConsole, home: Path
) -> None:
    hostile = "<img src=x onerror=document.title='run'>"
    job = make_job(home, "20261122-1000-forge-long", State.FAILED, 100_000, hostile)
    with open_tab(browser, console.url) as page:
        sign_in_tab(page)
        page.goto(f"/jobs/{job}?tab=samples")
        page.locator(".u-over").wait_for()
        assert page.title().startswith("made")
        assert page.locator(".answers p").first.inner_text() == hostile
        points = page.request.get(f"/jobs/{job}/chart").json()["series"]["loss"][0]
        assert len(points) <= 1200
        # A part in detail, and all of it again.
        box = page.locator(".u-over").bounding_box()
        assert box is not None
        with page.expect_response("**/chart?first=*") as found:
            page.mouse.move(box["x"] + 100, box["y"] + 50)
            page.mouse.down()
            page.mouse.move(box["x"] + 103 + 4, box["y"] + 50, steps=3)
            page.mouse.up()
        detail = found.value.json()["series"]["loss"][0]
        assert detail[-1] - detail[0] < 2000
        assert len(detail) > 100
        with page.expect_response("**/chart"):
            page.mouse.dblclick(box["x"] + 50, box["y"] + 50)
        page.locator("#tab-raw").click()
        wait_until(page, "document.getElementById('raw').textContent.length > 1000")
        first = page.evaluate("document.getElementById('raw').textContent.length")
        assert first <= 64 * 1024
        page.locator("#earlier").click()
        wait_until(page, "(n) => document.getElementById('raw').textContent.length > n", arg=first)
        page.keyboard.press("Tab")
        page.locator("#tab-raw").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#panel-options").is_visible()
        assert "tab=options" in page.url


@pytest.mark.parametrize(("language", "dark"), LOOKS)
def test_looks(
    browser: Browser, console: RunningConsole, home: Path, language: str, dark: bool
) -> None:
    kinds = {State.FAILED: "fail", State.SUCCEEDED: "good", State.CANCELLED: "stop"}
    jobs = [f"20261122-110{n}-forge-{name}" for n, name in enumerate(kinds.values())]
    for job, state in zip(jobs, kinds, strict=True):
        if not (home / "jobs" / job).exists():
            make_job(home, job, state, 300, "損失が nan になりました" * 4)
            if state is State.SUCCEEDED:
                (home / "jobs" / job / "result.json").write_text(RESULT, encoding="utf-8")
    with open_tab(browser, console.url, language=language, dark=dark) as page:
        sign_in_tab(page)
        page.goto("/train?base=tiny-base%3A1")
        drop(page, "data", EXAMPLE / "faq.csv")
        page.wait_for_url("**/train?*data=upload*")
        chosen = page.url
        page.locator("dl.estimate").wait_for(timeout=SLOW)
        upload = f"/data/uploads/{page.locator('#data').input_value().removeprefix('upload:')}"
        page.goto(upload)
        addresses = [chosen, upload, keep(page), "/jobs", *(f"/jobs/{job}" for job in jobs)]
        for address in addresses:
            page.goto(address)
            if "/jobs/" in address:
                page.locator(".u-over").wait_for()
            open_all(page)
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 900})
                # Charts follow with the next frame, which a busy machine draws late.
                wait_until(page, "document.documentElement.scrollWidth <= innerWidth")
                assert clipped(page) == [], (address, width)
                assert violations(page) == [], (address, width)


def keep(page: Page) -> str:
    """The dataset that comes of an upload, as a model reads it."""
    page.fill("#name", "faq")
    page.locator("main form button.primary").click()
    page.wait_for_url("**/data/faq/versions/*")
    return f"{page.url}?base=tiny-base"


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")


BIG = """(size) => {
  const t = new DataTransfer();
  t.items.add(new File([new Blob([new ArrayBuffer(size)])], "big.csv"));
  const zone = document.querySelector(".drop");
  zone.dispatchEvent(new DragEvent("drop", { dataTransfer: t, bubbles: true }));
}"""


def test_how_far_an_upload_is(browser: Browser, console: RunningConsole) -> None:
    with open_tab(browser, console.url) as page:
        sign_in_tab(page)
        page.goto("/data")
        network = page.context.new_cdp_session(page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1}
        network.send("Network.enable")
        network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 2_000_000})
        page.evaluate(BIG, 40e6)
        bar = page.locator(".drop progress")
        wait_until(
            page,
            "() => { const now = document.querySelector('.drop progress').value;"
            " return now > 0 && now < 1; }",
        )
        assert bar.is_visible()
        assert re.fullmatch(r"[\d.]+ of 40.0 MB", page.locator(".drop .progress p").inner_text())
        page.locator(".drop .progress button").click()  # not to be waited for
        bar.wait_for(state="hidden")


def test_what_is_too_large_is_said_at_once(browser: Browser, console: RunningConsole) -> None:
    with open_tab(browser, console.url) as page:
        sign_in_tab(page)
        page.goto("/data")
        asked: list[Any] = []
        page.on("request", lambda request: asked.append(request.url))
        page.evaluate(BIG, 201e6)
        page.get_by_text("The file has 201.0 MB; at most 200 MB").wait_for()
        assert [url for url in asked if "/data/uploads" in url] == []


RESULT = """{"reference": "company:1", "training": {"steps": 300, "total_steps": 300, "stopped": false,
 "train_loss": 0.21, "held_out_loss": 0.33, "kept_step": 300, "seconds": 81.2, "tokens": 40000},
 "comparisons": [{"name": "held-out", "base": {"key_facts": 0.05, "similarity": 0.1},
 "tuned": {"key_facts": 0.85, "similarity": 0.9}, "rows": [{"id": "1", "question": "始業は?",
 "expected": "8時25分です。", "key_fact": "8時25分", "base": "わかりません。", "tuned": "8時25分です。"}]}]}"""
