"""A model that another server of ours serves, by its name here: talked to and served again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from kajiya.cli.main import cli
from kajiya.inference.bundle import ServableModel
from support.tiny_server import Running, running


@pytest.fixture(scope="module")
def elsewhere(
    tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with running(tuned_model.folder, tmp_path_factory.mktemp("elsewhere")) as made:
        yield made


@pytest.fixture
def home(elsewhere: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which "org/tuned:1" of that server is `remote:there`."""
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("THEIR_KEY", elsewhere.key)
    where = ["--url", f"{elsewhere.url}/v1", "--model", "org/tuned:1", "--key-env", "THEIR_KEY"]
    words = ["models", "remote", "add", "there", *where, "--constraints", "choice"]
    assert CliRunner().invoke(cli, words, catch_exceptions=False).exit_code == 0
    return tmp_path / "home"


def test_chat(home: Path, elsewhere: Running) -> None:
    words = ["chat", "remote:there", "--max-tokens", "3", "-m", "hello"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.stdout == " legal legal legal\n"
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert not any(elsewhere.key.encode() in path.read_bytes() for path in kept)


def test_serve(home: Path) -> None:
    command = [sys.executable, "-m", "kajiya.cli.main", "serve", "remote:there", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while "Ctrl-C" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        address = re.search(r"http://\S+/v1", text)
        assert address
        headers = {"Authorization": f"Bearer {(home / 'key').read_text().strip()}"}
        asked = {
            "model": "there",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0,
            "max_tokens": 3,
        }

        def ask(**more: object) -> httpx.Response:
            url, body = f"{address[0]}/chat/completions", {**asked, **more}
            return httpx.post(url, headers=headers, json=body, timeout=60)

        whole = ask().json()
        assert whole["choices"][0]["message"]["content"] == " legal" * 3
        assert whole["usage"]["completion_tokens"] == 3
        assert whole["usage"]["prompt_tokens"] > 3
        lines = ask(stream=True).text.splitlines()
        pieces = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert "".join(p["choices"][0]["delta"].get("content", "") for p in pieces) == " legal" * 3
        form = ask(structured_outputs={"choice": ["yes", "no"]}, max_tokens=9).json()
        assert form["choices"][0]["message"]["content"] in ("yes", "no")
        refused = ask(structured_outputs={"regex": "a"})
        assert refused.status_code == 400
        process.terminate()
