"""Endpoints that the owner named: what may be written down, and where it stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kajiya.cli.models import models
from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import RemoteModel, group_by_base
from kajiya.inference.remotes import Remote, add_remote, load_remotes, remove_remote
from kajiya.inference.servable import resolve_servable


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path / "home"))
    return Workspace.current()


def test_add_list_use_forget(workspace: Workspace) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(models, ["remote", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    url = "https://llm.example.com/v1"
    run("add", "office", "--url", url, "--model", "qwen", "--key-env", "OFFICE_KEY")
    run("add", "other", "--url", url, "--model", "m", *("--constraints", "regex"))
    assert run("list") == f"remote:office  qwen  {url}\nremote:other  m  {url}\n"
    assert '"key_env": "OFFICE_KEY"' in run("list", "--json")
    assert load_remotes(workspace)["other"].constraints == ("regex",)
    office = resolve_servable("remote:office", workspace)
    other = resolve_servable("remote:other", workspace)
    assert isinstance(office, RemoteModel)
    assert (office.name, office.remote.model) == ("office", "qwen")
    assert group_by_base([office, other]) == [(office,), (other,)]
    run("rm", "office")
    with pytest.raises(NotFoundError, match="remote:other"):
        resolve_servable("remote:office", workspace)
    with pytest.raises(NotFoundError):
        remove_remote("office", workspace)


def test_names_are_names_and_taken_once(workspace: Workspace) -> None:
    remote = Remote(url="https://h/v1", model="m")
    add_remote("a", remote, workspace)
    with pytest.raises(ConflictError):
        add_remote("a", remote, workspace)
    for name in ("../a", "", "a/b", ".a"):
        with pytest.raises(ConfigError):
            add_remote(name, remote, workspace)


def test_a_damaged_file_is_named_and_kept(workspace: Workspace) -> None:
    path = workspace.create().home / "remotes.yaml"
    path.write_text("remotes: {a: {url: 'file:///etc/passwd', model: m}}")
    with pytest.raises(ConfigError, match=r"remotes\.yaml"):
        add_remote("b", Remote(url="https://h/v1", model="m"), workspace)
    assert "passwd" in path.read_text()


@pytest.mark.parametrize(
    "values",
    [
        {"url": "file:///etc/passwd"},
        {"url": "ftp://h/v1"},
        {"url": "https://user:secret@h/v1"},
        {"url": "https://h/v1?key=secret"},
        {"url": "https://h/v1#x"},
        {"url": "http://127.0.0.1\\@h/v1"},
        {"url": "https://h\r\nX: y/v1"},
        {"url": "https:///v1"},
        {"url": "http://h/v1", "key_env": "KEY"},
        {"url": "http://127.0.0.1.h/v1", "key_env": "KEY"},
        {"key_env": "KEY", "key_file": "/k"},
        {"key_env": "A=B"},
        {"key": "sk-plain"},
        {"model": ""},
    ],
)
def test_what_is_no_endpoint(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Remote.checked({"url": "https://h/v1", "model": "m", **values})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8321/v1", "http://localhost/v1/", "http://[::1]:9/v1", "https://h/v1"]
)
def test_where_a_key_may_go(url: str) -> None:
    assert Remote.checked({"url": url, "model": "m", "key_env": "KEY"}).url == url
