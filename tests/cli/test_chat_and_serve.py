"""`kajiya chat` and `kajiya serve` on a registered model that llama.cpp really runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from kajiya.cli.chat import chat
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.store.artifacts import ArtifactStore, Parent


@pytest.fixture(scope="module")
def home(tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the tiny base as "tiny" and its adapter as "tuned"."""
    workspace = Workspace(tmp_path_factory.mktemp("home")).create()
    store = ArtifactStore(workspace)
    with store.draft("model", "tiny") as base:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tuned_model.folder / name, base.folder / name)
        shutil.copy(tuned_model.weights, base.folder / "base.gguf")
        base.details = {"context_length": 16384}
    parent = Parent(
        role="base",
        kind="model",
        reference=base.artifact.reference,
        manifest_sha256=base.artifact.manifest_sha256,
    )
    with store.draft("adapter", "tuned", parents=[parent]) as adapter:
        shutil.copy(tuned_model.adapters["legal"], adapter.folder / "adapter.gguf")
    return workspace.home


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("KAJIYA_HOME", str(home))
    shutil.rmtree(home / "chats", ignore_errors=True)
    return Workspace(home)


def talk(*arguments: str, typed: str = "") -> Result:
    result = CliRunner().invoke(chat, ["tiny", "--max-tokens", "4", *arguments], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def turns(workspace: Workspace, name: str = "tiny") -> list[tuple[str, str]]:
    lines = (workspace.chats / f"{name}.jsonl").read_text().splitlines()
    return [(turn["role"], turn["content"]) for turn in map(json.loads, lines)]


def test_a_conversation_is_kept_privately_and_goes_on(workspace: Workspace) -> None:
    first = talk("--system", "be brief", typed="hello\n\nagain\n")
    assert first.stdout == " the quick brown fox\n the quick brown fox\n"
    file = workspace.chats / "tiny.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    second = talk(typed="more\n")
    assert "going on after 2 question(s)" in second.stderr
    assert turns(workspace) == [
        ("system", "be brief"),
        ("user", "hello"),
        ("assistant", " the quick brown fox"),
        ("user", "again"),
        ("assistant", " the quick brown fox"),
        ("user", "more"),
        ("assistant", " the quick brown fox"),
    ]
    third = talk("--new", typed="fresh\n")
    assert "going on" not in third.stderr
    assert turns(workspace)[0] == ("user", "fresh")
    assert len(list(workspace.chats.glob("tiny.*.jsonl"))) == 1


def test_commands(workspace: Workspace) -> None:
    result = talk(typed="/help\none\n/regenerate\n/clear\n/regenerate\ntwo\n/exit\nnever\n")
    assert "/regenerate another answer" in result.stderr
    assert "nothing was asked yet" in result.stderr
    assert [turn for turn in turns(workspace) if turn[0] == "user"] == [("user", "two")]


def test_one_question_stands_alone(workspace: Workspace) -> None:
    result = CliRunner().invoke(chat, ["tuned", "-m", "hello", "--max-tokens", "3"])
    assert result.stdout == " legal legal legal\n"
    assert not workspace.chats.exists()


def test_a_conversation_that_outgrows_the_context_forgets_its_beginning(
    workspace: Workspace,
) -> None:
    result = talk(typed=f"{'a' * 2500}\n{'b' * 2500}\n{'c' * 5000}\nshort\n")
    assert "no longer fits" in result.stderr
    assert "this model's context holds 4096" in result.stderr
    assert [text[:1] for role, text in turns(workspace) if role == "user"] == ["s"]


def test_a_damaged_conversation_names_the_line(workspace: Workspace) -> None:
    workspace.chats.mkdir()
    (workspace.chats / "tiny.jsonl").write_text('{"role": "user", "content": "x"}\n{"role"\n')
    with pytest.raises(Exception, match=r"tiny\.jsonl:2: not a turn"):
        talk(typed="x\n")


def test_ctrl_c_stops_the_answer_and_not_the_program(workspace: Workspace) -> None:
    command = [sys.executable, "-m", "kajiya.cli.main", "chat", "tiny", "--max-tokens", "4000"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.read(10) == b" the quick"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(b"/help\n")
        assert b"(stopped)" in said
        assert b"/regenerate" in said
        assert process.returncode == 0
    (question, answer) = turns(workspace)
    assert question == ("user", "hello")
    assert answer[1].startswith(" the quick")
    assert len(answer[1]) < 4000 * 2


def test_serve_prints_what_is_needed_for_the_first_request(workspace: Workspace) -> None:
    command = [
        sys.executable,
        "-m",
        "kajiya.cli.main",
        "serve",
        "--port",
        "0",
        "--context-length",
        "512",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while "Ctrl-C" not in (lines or [""])[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        text = "".join(lines)
        address, key = re.search(r"http://\S+/v1", text), re.search(r"kj-[\w-]{43}", text)
        assert address
        assert key
        assert key[0] == workspace.key_file.read_text().strip()
        headers = {"Authorization": f"Bearer {key[0]}"}
        models = httpx.get(f"{address[0]}/models", headers=headers).json()
        assert [model["id"] for model in models["data"]] == ["tuned"]
        curl = text[text.index("curl ") : text.index("\n\nPython")]
        answer = subprocess.run(
            ["bash", "-c", curl],
            capture_output=True,
            check=True,
            env={**os.environ, "no_proxy": "*"},
        )
        assert json.loads(answer.stdout)["choices"][0]["message"]["content"].startswith(" legal")
        script = text[text.index("from openai") : text.index("Ctrl-C")]
        python = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        assert python.stdout.startswith(b" legal legal")
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.returncode == 0
