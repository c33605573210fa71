"""What is served and to whom, over HTTP: models, keys, usage."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import insert, select

from kajiya.inference.bundle import ServableModel
from kajiya.server.access.caller import KeySettings
from kajiya.server.access.keyring import Keyring
from kajiya.store.database import Database
from kajiya.store.tables import KEYS
from support.console import Reader, RunningConsole, running_console
from support.studio import have_served, models, running_studio, wait_for

HOSTILE = "<script>alert(1)</script>'\""
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def console(
    tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningConsole]:
    with running_studio(tmp_path_factory.mktemp("workspace") / "home", tiny_model) as made:
        yield made


def new_key(reader: Reader, name: str, **settings: str) -> str:
    """The secret that is shown once."""
    reader.see("/serving/keys")
    response = reader.submit("/serving/keys", name=name, **settings)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    (secret,) = set(re.findall(r"kj-[A-Za-z0-9_-]{43}", response.text))
    return secret


def key_page(owner: Reader, name: str) -> str:
    found = re.search(rf'href="(/serving/keys/key-\w+)">{name}<', owner.see("/serving/keys").text)
    assert found
    return found[1]


def refused(console: RunningConsole, secret: str) -> str | None:
    """The code with which a call is refused, if it is."""
    response = httpx.post(
        f"{console.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {secret}"},
        json={"model": "village", "messages": HELLO, "max_tokens": 1},
        timeout=60,
    )
    return str(response.json()["error"]["code"]) if response.is_error else None


def test_models_are_served_and_taken_down(console: RunningConsole, owner: Reader) -> None:
    have_served(owner, "village", "legal:1")
    page = owner.see("/serving").text
    assert "legal:1" in page
    assert "Idle" in page or "Up" in page
    assert owner.submit("/serving/models/load", name="village").status_code == 303
    assert "Up" in owner.see("/serving").text
    assert owner.submit("/serving/models/unload", name="village").status_code == 303
    assert owner.submit("/serving/models/remove", name="legal:1").status_code == 303
    assert models(owner)["served"] == ["village"]
    assert owner.submit("/serving/models/remove", name="legal:1").status_code == 404
    for path in ("/etc/passwd", "", "x" * 300, "../../x"):
        assert owner.submit("/serving/models", reference=path).status_code == 400


def test_what_cannot_be_served_says_why(owner: Reader) -> None:
    owner.see("/serving")
    assert owner.submit("/serving/models", reference=HOSTILE.replace("/", "")).status_code == 303
    wait_for(lambda: {"told" for problem in models(owner)["coming"].values() if problem}, "told")
    page = owner.see("/serving").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    owner.submit("/serving/models/forget", name=HOSTILE.replace("/", ""))
    assert models(owner)["coming"] == {}


def test_a_key_is_shown_once_and_works_until_it_is_revoked(
    console: RunningConsole, owner: Reader
) -> None:
    if "village" not in models(owner)["served"]:
        have_served(owner, "village")
    secret = new_key(owner, "wiki-bot", models="village", rpm_limit="1000", duration="90d")
    assert secret not in owner.see("/serving/keys").text
    with openai.OpenAI(base_url=f"{console.url}/v1", api_key=secret, timeout=60) as client:
        made = client.chat.completions.create(
            model="village", messages=HELLO, max_tokens=2, temperature=0
        )
        assert made.choices[0].message.content == " the quick"
    page = key_page(owner, "wiki-bot")
    assert secret not in owner.see(page).text
    changed = owner.submit(page, models="nothing", rpm_limit="5", budget_period="day")
    assert changed.status_code == 303
    assert refused(console, secret) == "model_not_found"
    assert owner.submit(page, models="", rpm_limit="").status_code == 303
    assert refused(console, secret) is None
    rotated = owner.submit(f"{page}/rotate")
    (fresh,) = set(re.findall(r"kj-[A-Za-z0-9_-]{43}", rotated.text))
    assert refused(console, secret) == "invalid_api_key"
    assert refused(console, fresh) is None
    owner.see(page)
    assert owner.submit(f"{page}/revoke").status_code == 303
    assert refused(console, fresh) == "invalid_api_key"
    usage = owner.see("/serving/usage?by=key").text
    assert "wiki-bot" in usage
    assert "village" in owner.see("/serving/usage?by=model&days=7").text
    audit = owner.see("/settings/audit").text
    for word in ("key.created", "key.rotated", "key.revoked", "key.changed"):
        assert word in audit
    assert secret not in audit


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"name": ""}, "cannot be used"),
        ({"name": "x", "duration": "soon"}, "no duration"),
        ({"name": "x", "rpm_limit": "0"}, "At least 1"),
        ({"name": "x", "rpm_limit": "many"}, "whole number"),
        ({"name": "x", "models": "a,,b"}, "empty"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(owner: Reader, values: dict[str, str], told: str) -> None:
    owner.see("/serving/keys")
    response = owner.submit("/serving/keys", **values)
    assert response.status_code == 400
    assert told in response.text
    assert not re.search(r"kj-[\w-]{43}", response.text)


def test_names_are_only_names(owner: Reader) -> None:
    new_key(owner, HOSTILE, owner=HOSTILE)
    page = owner.see("/serving/keys").text
    assert "<script>alert" not in page
    assert html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    again = owner.submit("/serving/keys", name=HOSTILE)
    assert again.status_code == 400
    assert "already" in again.text
    assert "<script>alert" not in again.text


def test_a_thousand_keys(console: RunningConsole, owner: Reader) -> None:
    database = Database.open_file(console.home / "accounts.db")
    made, _ = Keyring(database).create("bulk", KeySettings())
    with database.write() as connection:
        row = dict(connection.execute(select(KEYS).where(KEYS.c.id == made.id)).mappings().one())
        rows = [
            row
            | {"id": f"key-{n}", "name": f"bulk-{n:04d}", "secret_sha256": str(n)}
            | {"owner": f"team-{n % 10}"}
            for n in range(1000)
        ]
        connection.execute(insert(KEYS), rows)
    database.close()
    page = owner.see("/serving/keys").text
    assert page.count('href="/serving/keys/key-') == 100
    assert "1 / 11" in page
    found = owner.see("/serving/keys?q=bulk-0001").text
    assert found.count('href="/serving/keys/key-') == 1
    team = owner.see("/serving/keys?q=team-3&page=1").text
    assert team.count('href="/serving/keys/key-') == 100
    for number in ("0", "-1", "99999", "999999999", "x"):
        assert owner.see(f"/serving/keys?page={number}").status_code == 200


def test_the_same_is_served_after_a_restart(tiny_model: ServableModel, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_studio(home, tiny_model) as console:
        reader = console.reader().sign_in()
        have_served(reader, "village", "legal")
    with contextlib.closing(reader), running_console(home, console.port):
        wait_for(lambda: set(models(reader)["served"]), "legal")
        assert set(models(reader)["served"]) == {"village", "legal"}
        assert reader.see("/serving").text.count('aria-labelledby="engine-') == 1
