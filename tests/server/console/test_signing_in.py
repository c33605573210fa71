"""The first start, signing in and out, and what does not let anybody in."""

from __future__ import annotations

from pathlib import Path

import httpx

from support.console import OWNER, PASSWORD, Reader, RunningConsole, running_console


def test_the_first_start_needs_the_token_and_works_once(tmp_path: Path) -> None:
    with running_console(tmp_path / "home") as console, console.reader() as reader:
        assert reader.see("/").headers["location"] == "/first"
        form = {"name": OWNER, "password": PASSWORD, "again": PASSWORD}
        reader.see("/first")
        assert reader.submit("/first", token="guess", **form).status_code == 400
        reader.first_start(console.first_url)
        with console.reader() as late:
            late.see("/sign-in")
            token = console.first_url.partition("token=")[2]
            sent = late.submit("/first", token=token, **form | {"name": "another"})
            assert sent.status_code == 400
            assert "exists already" in sent.text


def test_a_session_survives_a_restart(tmp_path: Path) -> None:
    with running_console(tmp_path / "home") as console, console.reader() as reader:
        cookies = dict(reader.first_start(console.first_url).cookies)
    with running_console(tmp_path / "home", console.port) as again, again.reader() as reader:
        assert "token" not in again.first_url
        assert reader.see("/account").status_code == 303
        reader.cookies.update(cookies)
        assert reader.see("/account").status_code == 200


def test_a_wrong_password_and_a_wrong_name_look_the_same(console: RunningConsole) -> None:
    told = []
    for name, password in ((OWNER, "wrong password"), ("nobody", PASSWORD)):
        with console.reader() as reader:
            reader.see("/sign-in")
            response = reader.submit("/sign-in", name=name, password=password)
            assert response.status_code == 401
            told.append("The name or the password is wrong" in response.text)
            assert reader.see("/account").status_code == 303
    assert told == [True, True]


def test_without_the_form_token_nothing_changes(console: RunningConsole, owner: Reader) -> None:
    del owner.headers["X-CSRF-Token"]
    for token in ("", "0" * 64):
        response = owner.submit("/taste", language="ja", csrf_token=token)
        assert response.status_code == 403
        assert "load it again" in response.text


def test_a_cookie_opens_no_api_and_a_key_no_page(console: RunningConsole, owner: Reader) -> None:
    key = (console.home / "key").read_text().strip()
    assert owner.get("/v1/models").status_code == 401
    bearer = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
    assert httpx.get(f"{console.url}/v1/models", headers=bearer).status_code == 200
    assert httpx.get(f"{console.url}/account", headers=bearer).status_code == 401


def test_signing_in_gives_a_new_cookie(console: RunningConsole) -> None:
    with console.reader() as reader:
        reader.see("/sign-in")
        name = f"kajiya-{console.port}"
        before = reader.cookies[name]
        reader.sign_in()
        after = reader.cookies[name]
        assert before != after
        assert reader.submit("/sign-out").status_code == 303
        assert reader.see("/account").status_code == 303
        reader.cookies.set(name, after)
        assert reader.see("/account").status_code == 303


def test_a_planted_cookie_is_worth_nothing_after_signing_in(console: RunningConsole) -> None:
    name, planted = f"kajiya-{console.port}", "A" * 43
    with console.reader() as reader:
        reader.cookies.set(name, planted)
        reader.sign_in()
    with console.reader() as thief:
        thief.cookies.set(name, planted)
        assert thief.see("/account").status_code == 303


def test_the_cookie_is_out_of_reach(console: RunningConsole) -> None:
    with console.reader() as reader:
        reader.see("/sign-in")
        sent = reader.submit("/sign-in", name=OWNER, password=PASSWORD)
        cookie = sent.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "domain=" not in cookie


def test_nobody_is_sent_elsewhere_after_signing_in(console: RunningConsole) -> None:
    for after, sent_to in (
        ("/settings?x=1", "/settings?x=1"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/\t/evil.example", "/"),
        ("settings", "/"),
    ):
        with console.reader() as reader:
            reader.see("/sign-in")
            sent = reader.submit("/sign-in", name=OWNER, password=PASSWORD, next=after)
            assert sent.headers["location"] == sent_to


def test_guessing_is_slowed_down(console: RunningConsole) -> None:
    with console.reader() as reader:
        reader.see("/sign-in")
        guesses = [
            reader.submit("/sign-in", name="somebody", password="guess number one")
            for _ in range(6)
        ]
        assert [guess.status_code for guess in guesses[:5]] == [401] * 5
        assert guesses[5].status_code in (401, 429)  # a slow machine needs longer than the pause
        for _ in range(6):
            last = reader.submit("/sign-in", name="somebody", password="guess number two")
            if last.status_code == 429:
                break
        assert last.status_code == 429
        assert int(last.headers["retry-after"]) >= 1
        reader.sign_in()  # other names are not held up


def test_the_own_password_is_changed_and_others_are_signed_out(console: RunningConsole) -> None:
    with console.reader() as admin, console.reader() as here, console.reader() as elsewhere:
        admin.sign_in()
        admin.submit("/settings/people", name="ito", password=PASSWORD, role="viewer")
        here.sign_in("ito")
        elsewhere.sign_in("ito")
        new = {"password": "another hammer", "again": "another hammer"}
        assert here.submit("/account/password", old="wrong one", **new).status_code == 400
        assert here.submit("/account/password", old=PASSWORD, **new).status_code == 303
        assert here.see("/account").status_code == 200
        assert elsewhere.see("/account").status_code == 303
        elsewhere.sign_in("ito", "another hammer")
        assert elsewhere.submit("/account/sign-out-everywhere").status_code == 303
        assert here.see("/account").status_code == 303


def test_a_link_from_elsewhere_neither_asks_to_sign_in_nor_signs_out(
    console: RunningConsole,
) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Accept": "text/html"}
    for path in ("/account", "/sign-in"):
        response = httpx.get(console.url + path, headers=elsewhere)
        assert response.status_code == 200
        assert 'http-equiv="refresh" content="0"' in response.text
        assert "set-cookie" not in response.headers
    data = httpx.get(f"{console.url}/account", headers={**elsewhere, "Accept": "*/*"})
    assert data.status_code == 401
