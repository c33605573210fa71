"""Conversations over HTTP: what is said, who may see it, and what hostile words come to."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from kajiya.inference.bundle import ServableModel
from kajiya.store.database import Database
from kajiya.store.tables import USAGE
from support.console import PASSWORD, Reader, RunningConsole, running_console
from support.studio import (
    answered,
    begin_chat,
    have_served,
    models,
    post,
    running_studio,
    wait_for,
)

HOSTILE = "<img src=x onerror=alert(1)>'\"{{7*7}}</script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def console(
    tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningConsole]:
    with running_studio(tmp_path_factory.mktemp("workspace") / "home", tiny_model) as made:
        with made.reader() as reader:
            have_served(reader.sign_in(), "village", "legal", "tone")
            for role in ("viewer", "trainer"):
                form = {"name": role, "password": PASSWORD, "role": role}
                assert reader.submit("/settings/people", **form).status_code == 303
        yield made


@pytest.fixture
def viewer(console: RunningConsole) -> Iterator[Reader]:
    with console.reader() as reader:
        yield reader.sign_in("viewer")


def settings(*models: Any, **options: Any) -> dict[str, Any]:
    chosen = [{"name": each, "weights": {}} if isinstance(each, str) else each for each in models]
    sampling = {"temperature": 0, "max_tokens": 4}
    return {"models": chosen, "system": "", "character": {}, "sampling": sampling, **options}


def ask(reader: Reader, chat: str, text: str = "hello") -> list[dict[str, Any]]:
    post(reader, f"{chat}/ask", {"text": text})
    return answered(reader, chat)


def test_a_conversation_from_its_beginning(viewer: Reader) -> None:
    chat = begin_chat(viewer, "village")
    post(viewer, f"{chat}/settings", settings("village"))
    question, answer = ask(viewer, chat)
    assert (question["side"], question["text"]) == ("", "hello")
    assert answer["text"] == " the quick brown fox"
    assert (answer["status"], answer["reference"], answer["tokens"]) == ("length", "village:1", 4)
    assert " the quick brown fox" in viewer.see(chat).text
    assert "hello" in viewer.see("/chat").text
    post(viewer, f"{chat}/again", {})
    assert len(answered(viewer, chat)) == 2
    post(viewer, f"{chat}/ask", {"text": "another", "position": 0})
    assert answered(viewer, chat)[0]["text"] == "another"
    assert viewer.submit(f"{chat}/title", title="名前").status_code == 303
    assert "名前" in viewer.see("/chat").text
    assert viewer.submit(f"{chat}/delete").status_code == 303
    assert viewer.see(chat).status_code == 404


def test_events_tell_the_whole_answer_to_each_who_asks(viewer: Reader) -> None:
    chat = begin_chat(viewer, "legal")
    post(
        viewer,
        f"{chat}/settings",
        settings("legal", sampling={"temperature": 0, "max_tokens": 300}),
    )
    post(viewer, f"{chat}/ask", {"text": "hello"})
    told = [viewer.get(f"{chat}/events").text for _ in range(2)]
    for stream in told:
        blocks = [block.split("\n") for block in stream.strip().split("\n\n")]
        found = [
            (lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: ")))
            for lines in blocks
            if lines[-1].startswith("data: ")
        ]
        said = ""
        for name, data in found[:-1]:
            assert (name, data["at"]) == ("text", len(said))
            said += data["text"]
        name, end = found[-1]
        assert name == "end"
        assert end["messages"][1]["text"] == " legal" * 300
        assert said in ("", " legal" * 300)  # the second may come when all is over


def test_stop(viewer: Reader) -> None:
    chat = begin_chat(viewer, "legal")
    long = {"temperature": 0, "max_tokens": 30_000}
    post(viewer, f"{chat}/settings", settings("legal", sampling=long))
    post(viewer, f"{chat}/ask", {"text": "hello"})
    told = post(viewer, f"{chat}/stop", {})["messages"]
    assert told[1]["status"] == "stopped"


def test_two_models_and_what_was_thought_of_them(console: RunningConsole, viewer: Reader) -> None:
    chat = begin_chat(viewer, "legal")
    mixed = {"name": "village", "weights": {"tone:1": 1.0}}
    told = post(viewer, f"{chat}/settings", settings("legal", mixed))
    assert [model["base"] for model in told["models"]] == ["legal", "village"]
    assert [s["weight"] for s in told["models"][1]["sliders"]] == [0, 1]
    _, a, b = ask(viewer, chat, HOSTILE)
    assert a["text"].startswith(" legal")
    assert b["text"].startswith(" dog")
    post(viewer, f"/chat/messages/{a['id']}/compare", {"verdict": "b"})
    post(viewer, f"/chat/messages/{a['id']}/rate", {"verdict": "down"})
    post(viewer, f"/chat/messages/{b['id']}/correct", {"text": "=1+1"})
    seen = viewer.get(f"{chat}/messages").json()["messages"]
    assert [m["comparison"] for m in seen[1:]] == ["b", ""]
    assert seen[1]["rating"] == "down"
    assert seen[2]["correction"] == "=1+1"
    assert viewer.get("/chat/preferences").status_code == 403
    with console.reader() as trainer:
        trainer.sign_in("trainer")
        page = trainer.see("/chat/preferences").text
        assert "<img src=x" not in page
        assert "&lt;img src=x" in page
        pairs = [
            json.loads(line)
            for line in trainer.get("/chat/preferences/export/pairs").text.splitlines()
        ]
        assert {pair["chosen"][0]["content"][:4] for pair in pairs} == {b["text"][:4], "=1+1"}
        table = trainer.get("/chat/preferences/export/table")
        assert "attachment" in table.headers["content-disposition"]
        text = table.content.decode("utf-8-sig")
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        assert "'=1+1" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
        assert trainer.get("/chat/preferences/export/other").status_code == 404
        assert trainer.submit("/chat/preferences/delete", days="x").status_code == 400
        assert trainer.submit("/chat/preferences/delete", days="0").status_code == 303
        assert trainer.get("/chat/preferences/export/pairs").text == ""


def test_a_character_and_an_instruction_are_read(viewer: Reader) -> None:
    chat = begin_chat(viewer, "village")
    body = settings("village", system="短く。", character={"name": HOSTILE, "examples": "a\nb"})
    post(viewer, f"{chat}/settings", body)
    page = viewer.see(chat).text
    assert "<img src=x" not in page
    assert "</script><script>alert" not in page
    assert ask(viewer, chat)[1]["status"] == "length"


@pytest.mark.parametrize(
    "body",
    [
        settings("village", sampling={"temperature": 9}),
        settings("village", sampling={"unknown": 1}),
        settings("village", sampling={"max_tokens": 10**9}),
        settings("village", character={"unknown": "x"}),
        settings("village", system="x" * 16_001),
        settings("village", "legal", "tone"),
        settings({"name": "village", "weights": {"tone:1": 99}}),
        {"models": []},
        [],
        "x",
    ],
)
def test_settings_that_cannot_be_are_refused(viewer: Reader, body: Any) -> None:
    chat = begin_chat(viewer, "village")
    response = viewer.post(f"{chat}/settings", json=body, headers={"Accept": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


def test_nobody_reads_another_s_conversation(console: RunningConsole, viewer: Reader) -> None:
    chat = begin_chat(viewer, "village")
    post(viewer, f"{chat}/settings", settings("village"))
    message = ask(viewer, chat)[1]["id"]
    with console.reader() as admin:
        admin.sign_in()
        headers = {"Accept": "application/json"}
        for path in (chat, f"{chat}/messages", f"{chat}/events"):
            assert admin.get(path, headers=headers).status_code == 404
        for path in ("ask", "again", "stop", "settings", "delete", "title"):
            body = settings("village") if path == "settings" else {"text": "x"}
            assert admin.post(f"{chat}/{path}", json=body, headers=headers).status_code == 404
        refused = admin.post(
            f"/chat/messages/{message}/rate", json={"verdict": "up"}, headers=headers
        )
        assert refused.status_code == 404


def test_only_who_may_train_has_models_served(viewer: Reader) -> None:
    assert viewer.submit("/chat", model="hamlet").status_code == 404
    assert viewer.submit("/chat", model="../../etc/passwd").status_code == 404
    assert "hamlet" not in viewer.see("/serving").text


def test_what_cannot_be_served_is_told_where_it_was_asked_for(console: RunningConsole) -> None:
    with console.reader() as trainer:
        trainer.sign_in("trainer")
        chat = begin_chat(trainer, "hamlet")
        _, answer = ask(trainer, chat)
        assert answer["status"] == "failed"
        assert "hamlet" in answer["problem"]
        trainer.see("/serving")
        assert trainer.submit("/serving/models/forget", name="hamlet").status_code == 303


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_server_that_ends_meanwhile(tiny_model: ServableModel, tmp_path: Path, how: str) -> None:
    home = tmp_path / "home"
    with running_studio(home, tiny_model) as console:
        reader = console.reader().sign_in()
        have_served(reader, "legal")
        chat = begin_chat(reader, "legal")
        long = {"temperature": 0, "max_tokens": 30_000}
        post(reader, f"{chat}/settings", settings("legal", sampling=long))
        post(reader, f"{chat}/ask", {"text": "hello"})
        said = lambda: reader.get(f"{chat}/messages").json()["messages"][1]  # noqa: E731
        wait_for(lambda: {said()["text"][:6]}, " legal")
        getattr(console.process, how)()
        console.process.wait()
    with contextlib.closing(reader), running_console(home, console.port):
        answer = said()
        if how == "terminate":
            assert answer["status"] == "stopped"
            assert answer["text"].startswith(" legal")
        else:
            assert (answer["status"], answer["text"]) == ("lost", "")
        wait_for(lambda: set(models(reader)["served"]), "legal")
        short = {"temperature": 0, "max_tokens": 2}
        post(reader, f"{chat}/settings", settings("legal", sampling=short))
        post(reader, f"{chat}/again", {})
        assert answered(reader, chat)[1]["text"] == " legal legal"
    database = Database.open_file(home / "accounts.db")
    with database.read() as connection:
        states = connection.execute(select(USAGE.c.status).order_by(USAGE.c.started_at)).scalars()
        assert list(states) == ["cancelled" if how == "terminate" else "interrupted", "ok"]
    database.close()
