"""Easy Trainer, Data and Jobs over HTTP: from a file to a model, and everything hostile on the way."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest

from kajiya.core.events import EventLog, Log, Metric, Sample
from kajiya.core.workspace import Workspace
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import CONFIG_FILE, JobFailure, State, Status, write_status
from support.console import Reader, RunningConsole, images, running_console
from support.tiny_models import register_base

XSS = "<img src=x onerror=alert(1)>"
ROWS = "\n".join(f"{n}号室はどこですか。,{n % 4}階です。,{n % 4}階" for n in range(30))
CSV = f"質問,回答,要点\n{ROWS}\n"
TUNING = {"method": "lora", "epochs": "2", "batch_tokens": "64", "rank": "4"}
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """A console whose workspace has a tiny base model."""
    home = tmp_path_factory.mktemp("trainer") / "home"
    register_base(Workspace(home).create())
    with running_console(home) as made:
        made.reader().first_start(made.first_url).close()
        yield made


def upload(reader: Reader, content: str | bytes, name: str = "faq.csv") -> str:
    data = content.encode() if isinstance(content, str) else content
    sent = reader.post(f"/data/uploads?name={quote(name, safe='')}", content=data, headers=JSON)
    assert sent.status_code == 200, sent.text
    return str(sent.json()["id"])


def part(reader: Reader, path: str, **fields: str) -> str:
    found = reader.get(f"{path}?{urlencode(fields)}", headers=JSON)
    assert found.status_code == 200, found.text
    return str(found.json()["html"])


def wait_for_end(console: RunningConsole, job: str, seconds: float = 240) -> dict[str, object]:
    path = console.home / "jobs" / job / "status.json"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status: dict[str, object] = json.loads(path.read_text())
        if status["state"] not in ("queued", "running", "stopping"):
            return status
        time.sleep(0.1)
    raise AssertionError("the job did not end")


def test_from_a_file_to_a_model(console: RunningConsole, owner: Reader) -> None:
    data = f"upload:{upload(owner, CSV, '社内 FAQ.csv')}"
    first = owner.see(f"/train?{urlencode({'data': data})}").text
    assert "社内 FAQ.csv" in first and "Checking the file" in first
    assert "30 of 30 rows can be learnt from" in part(owner, "/train/check", data=data)
    chosen = {"data": data, "base": "tiny-base:1", **TUNING}
    plan = part(owner, "/train/plan", **chosen)
    assert 'class="trained' in plan and "A first guess" in plan
    assert "¥140,000 a day" in plan and "100 W" in plan
    # What has been worked out is there at once now, after a refresh or in a second tab.
    again = owner.see(f"/train?{urlencode(chosen)}").text
    assert "data-loads" not in again and 'value="tiny-base:1" checked' in again
    started = owner.submit("/train", name="rooms", **chosen)
    assert started.status_code == 303, started.text
    address = started.headers["location"]
    assert wait_for_end(console, address.rpartition("/")[2])["state"] == "succeeded"
    page = owner.see(address).text
    assert "rooms:1 is ready" in page and "/chat?model=rooms" in page and "side by side" in page
    events = owner.get(f"{address}/events", headers={"Accept": "text/event-stream"}).text
    assert events.count('"type": "sample"') >= 6  # before, and after each of two epochs
    assert "event: end" in events
    chart = owner.get(f"{address}/chart", headers=JSON).json()
    assert chart["series"]["loss"][0][-1] == chart["series"]["held_out_loss"][0][-1]
    dataset = owner.see("/data/rooms/versions/1").text
    assert "30 rows" in dataset and "3号室はどこですか。" in dataset
    assert "rooms:1" in owner.see("/data").text or "rooms" in owner.see("/data").text
    repeat = owner.get(f"/train?again={address.rpartition('/')[2]}").headers["location"]
    assert "dataset%3Arooms%3A1" in repeat and "tiny-base%3A1" in repeat and "epochs=2" in repeat
    assert 'data-loads="/train/plan"' in owner.see(repeat).text
    refused = owner.submit("/data/rooms/versions/1/delete")
    assert refused.status_code == 409 and "rooms:1" in refused.text


def test_stop_and_save_and_cancel(console: RunningConsole, owner: Reader) -> None:
    data = f"upload:{upload(owner, CSV)}"
    chosen = {"data": data, "base": "tiny-base:1", **TUNING, "epochs": "400"}
    ends = {}
    for action in ("finish", "cancel"):
        job = owner.submit("/train", name=action, **chosen).headers["location"]
        log = EventLog(console.home / "jobs" / job.rpartition("/")[2] / "events.jsonl")
        end = time.monotonic() + 120
        while not any(isinstance(event, Metric) and event.step > 3 for event in log):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert owner.submit(f"{job}/{action}").status_code == 303
        ends[action] = wait_for_end(console, job.rpartition("/")[2])["state"]
        page = owner.see(job).text
        assert ("finish:1 is ready" in page) == (action == "finish")
        assert ("/resume" in page) == (action == "cancel")
        assert owner.submit(f"{job}/finish").status_code == 409
        assert owner.submit(f"{job}/delete").status_code == 303
        assert owner.see(job).status_code == 404
    assert ends == {"finish": "succeeded", "cancel": "cancelled"}


def test_what_is_wrong_with_a_file_is_told_by_row_and_column(owner: Reader) -> None:
    rows = "質問,回答\n始業は?,8時です。\n,答えだけ\n始業は?,8時です。\n昼は?,=1+1\n"
    html = part(owner, "/train/check", data=f"upload:{upload(owner, rows)}")
    assert "the question is empty" in html and "the same as row 2" in html
    assert "looks like a formula" in html and "2 of 4 rows" in html
    unknown = f"upload:{upload(owner, 'foo,bar' + chr(10) + 'a,b' + chr(10))}"
    html = part(owner, "/train/check", data=unknown)
    assert "no column for the question" in html and '<option value="foo"' in html
    mapping = {"column-question": "foo", "column-answer": "bar"}
    assert "1 of 1 rows" in part(owner, "/train/check", data=unknown, **mapping)
    for content, words in ((b"PK\x03\x04 xl/", "Excel"), (b"%PDF-1.7", "PDF"), (b"\x00" * 99, "")):
        html = part(owner, "/train/check", data=f"upload:{upload(owner, content)}")
        assert "notice bad" in html and words in html


@pytest.mark.parametrize("data", ["upload:../../key", "upload:none", "dataset:no:1", "x", "/etc"])
def test_data_that_is_not_there(owner: Reader, data: str) -> None:
    page = owner.see(f"/train?{urlencode({'data': data})}")
    assert page.status_code == 200 and "notice warning" in page.text
    assert "notice bad" in part(owner, "/train/check", data=data)
    assert owner.submit("/train", data=data, name="x", base="tiny-base:1").status_code == 400


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "../x", "cannot be a name"),
        ("epochs", "0", "At least 1"),
        ("epochs", "many", "A whole number"),
        ("method", "magic", ""),
        ("method", "state", "no state to tune"),
        ("base", "nothing", "there is no model"),
        ("seed", "9" * 40, ""),
    ],
)
def test_a_choice_that_cannot_be(owner: Reader, field: str, value: str, words: str) -> None:
    chosen = {"data": f"upload:{upload(owner, CSV)}", "base": "tiny-base:1", "name": "x", **TUNING}
    refused = owner.submit("/train", **{**chosen, field: value})
    assert refused.status_code in (400, 404) and words in refused.text


def test_what_does_not_fit_says_why(owner: Reader) -> None:
    html = part(owner, "/train/plan", memory="12", batch_tokens="1000000")
    assert html.count("GB of memory, of") >= 1 or "it is not installed" in html
    assert "disabled" in html
    html = part(owner, "/train/plan", method="state")
    assert "has no state" in html


def test_cells_names_and_output_are_text(console: RunningConsole, owner: Reader) -> None:
    table = f'質問,回答,"{XSS}"\n"{XSS}は?","{XSS}</script><script>alert(2)</script>",x\n'
    table += ",".join([XSS] * 3) + "\n" + f"{XSS},,\n"
    upload_id = upload(owner, table, f"{XSS}.csv")
    texts = [
        part(owner, "/train/check", data=f"upload:{upload_id}"),
        part(owner, "/train/plan", data=f"upload:{upload_id}", base="tiny-base:1"),
        owner.see(f"/train?data=upload:{upload_id}").text,
        owner.see(f"/data/uploads/{upload_id}").text,
        owner.see(f"/train?{urlencode({'data': XSS, 'name': XSS, 'epochs': XSS})}").text,
        owner.see(f"/jobs?{urlencode({'text': XSS, 'state': XSS, 'kind': XSS, 'page': XSS})}").text,
    ]
    kept = owner.submit(f"/data/uploads/{upload_id}", name="hostile")
    texts.append(owner.see(kept.headers["location"]).text)
    job = make_job(console, "20261122-0900-forge-evil", State.FAILED, XSS)
    texts.append(owner.see(f"/jobs/{job}").text)
    assert all(not images(text) and "<script>alert" not in text for text in texts)
    assert any("&lt;img" in text for text in texts)
    exported = owner.get(kept.headers["location"] + "/export/csv").text
    assert exported.startswith("\ufeffid,category")


def test_formulas_are_not_run_by_a_spreadsheet(owner: Reader) -> None:
    rows = '質問,回答\n"=HYPERLINK(""http://evil.example"")",-1+2 です。\n'
    kept = owner.submit(f"/data/uploads/{upload(owner, rows)}", name="formulas")
    here = kept.headers["location"]
    exported = owner.get(f"{here}/export/csv")
    assert "\"'=HYPERLINK" in exported.text and "'-1+2" in exported.text
    assert "attachment" in exported.headers["content-disposition"]
    lines = owner.get(f"{here}/export/jsonl").text
    assert json.loads(lines)["messages"][0]["content"].startswith("=HYPERLINK")
    assert owner.get(f"{here}/export/exe", headers=JSON).status_code == 404
    assert owner.submit(f"{here}/delete").status_code == 303
    assert owner.see(here).status_code == 404


def test_too_much_is_refused_before_it_is_sent(console: RunningConsole, owner: Reader) -> None:
    assert console.home.joinpath("uploads").is_dir()
    before = sorted(path.name for path in (console.home / "uploads").iterdir())
    address = urlsplit(console.url)
    for length, chunked in ((201_000_000, False), (10**15, False), (0, True)):
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        connection.putrequest("POST", "/data/uploads?name=big.csv")
        headers = {name: owner.headers[name] for name in ("X-CSRF-Token",)}
        cookies = "; ".join(f"{name}={value}" for name, value in owner.cookies.items())
        for name, value in {**headers, **JSON, "Cookie": cookies}.items():
            connection.putheader(name, value)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(length))
        connection.endheaders()
        if chunked:  # nobody said how much it would be
            piece = b"x" * 1_000_000
            block = b"%x\r\n%s\r\n" % (len(piece), piece)
            try:
                for _ in range(202):
                    connection.send(block)
            except OSError:
                pass  # the server has hung up, as it should
        response = connection.getresponse()
        assert response.status == 413
        told = json.loads(response.read())["error"]
        # The guard refuses what is far too large before it gets to words about files.
        assert "200" in told["message"] or length > 400_000_000
        connection.close()
    assert sorted(path.name for path in (console.home / "uploads").iterdir()) == before


def test_an_upload_that_breaks_off_leaves_nothing(console: RunningConsole, owner: Reader) -> None:
    upload(owner, CSV)
    before = sorted(path.name for path in (console.home / "uploads").iterdir())
    address = urlsplit(console.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.putrequest("POST", "/data/uploads?name=half.csv")
    cookies = "; ".join(f"{name}={value}" for name, value in owner.cookies.items())
    headers = {"X-CSRF-Token": owner.headers["X-CSRF-Token"], "Cookie": cookies}
    for name, value in {**headers, "Content-Length": "5000000"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"question,answer\n" * 1000)
    connection.close()
    end = time.monotonic() + 30
    while sorted(path.name for path in (console.home / "uploads").iterdir()) != before:
        assert time.monotonic() < end
        time.sleep(0.05)


def make_job(console: RunningConsole, job: str, state: State, words: str = "") -> str:
    """A job as it looks afterwards, with `words` everywhere."""
    folder = console.home / "jobs" / job
    folder.mkdir(parents=True, exist_ok=True)
    options = {"base": words, "tune": {"epochs": 3, "x": words}}
    JobSpec(kind="forge", name="made", options=options).save(folder / CONFIG_FILE)
    error = JobFailure(code="bug", message=words, where=words, fix=words, traceback=words)
    failed = error if state is State.FAILED else None
    write_status(folder, Status(state=state, created=1.0, started=1.0, finished=9.0, error=failed))
    log = EventLog(folder / "events.jsonl")
    log.append(Log(message=words))
    log.append(Sample(step=1, question=words, answer=words, expected=words))
    log.append(Metric(step=1, values={"loss": 1.5, words or "x": float("nan")}))
    (folder / "log.txt").write_text(f"{words}\n" * 5)
    return job


def test_the_log_comes_in_pieces(console: RunningConsole, owner: Reader) -> None:
    job = make_job(console, "20261122-0901-forge-logs", State.SUCCEEDED)
    path = console.home / "jobs" / job / "log.txt"
    path.write_text("".join(f"line {n:07d}\n" for n in range(770_000)))  # 10 MB
    last = owner.get(f"/jobs/{job}/log", headers=JSON).json()
    assert last["size"] == path.stat().st_size and last["text"].endswith("line 0769999\n")
    assert len(last["text"]) <= 64 * 1024
    before = owner.get(f"/jobs/{job}/log?before={last['start']}", headers=JSON).json()
    assert before["end"] == last["start"]
    for query in ("after=99999999999999", "before=0", "after=-1", "before=x", "after=" + "9" * 50):
        assert owner.get(f"/jobs/{job}/log?{query}", headers=JSON).status_code == 200
    whole = owner.get(f"/jobs/{job}/log.txt")
    assert len(whole.content) == last["size"] and "attachment" in str(whole.headers)


def test_five_hundred_jobs_a_page_at_a_time(console: RunningConsole, owner: Reader) -> None:
    for number in range(500):
        make_job(console, f"20251122-{number:04d}-forge-many", State.CANCELLED)
    page = owner.see("/jobs?state=cancelled").text
    assert page.count('<th scope="row">') == 50 and "500 jobs" in page
    found = owner.see("/jobs?state=cancelled&page=10").text
    assert "20251122-0000-forge-many" in found
    assert re.findall(r"Page 10 of \d+", found)
    assert "20251122-0042" in owner.see("/jobs?text=20251122-0042").text


def test_prices_are_kept_and_lead_nowhere_else(owner: Reader) -> None:
    prices = {"watts": "65", "yen_per_kwh": "27", "cloud_yen_per_day": "1000", "cloud_gpus": "1"}
    kept = owner.submit("/train/prices", **prices, back="//evil.example")
    assert kept.headers["location"] == "/train"
    wrong = owner.submit("/train/prices", **{**prices, "yen_per_kwh": "-1"})
    assert wrong.status_code == 400 and "At least 0" in wrong.text
    data = f"upload:{upload(owner, CSV)}"
    assert "65 W" in part(owner, "/train/plan", data=data, base="tiny-base:1")


def test_japanese_throughout(console: RunningConsole) -> None:
    with console.reader("ja") as reader:
        reader.sign_in()
        upload_id = upload(reader, "質問,回答\n始業は?,8時です。\n,x\n")
        assert "質問が空です" in part(reader, "/train/check", data=f"upload:{upload_id}")
        assert "トレーニングを開始" in reader.see(f"/train?data=upload:{upload_id}").text


def test_the_console_has_not_grown_by_uploads(console: RunningConsole, owner: Reader) -> None:
    """Memory of the server stays flat while 200 MB come in."""
    import psutil

    process = psutil.Process(console.process.pid)
    upload(owner, b"x" * 1_000_000)
    before, most = process.memory_info().rss, 0

    def pieces() -> Iterator[bytes]:
        nonlocal most
        for _ in range(200):
            most = max(most, process.memory_info().rss)
            yield b"x" * 1_000_000

    headers = {**JSON, "Content-Length": "200000000"}
    sent = owner.post("/data/uploads?name=large.csv", content=pieces(), headers=headers)
    assert sent.status_code == 200 and sent.json()["size"] == 200_000_000
    assert most - before < 40_000_000
    Path(console.home, "uploads", sent.json()["id"], "data.csv").unlink()
