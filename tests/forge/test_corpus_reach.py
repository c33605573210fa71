"""What a recipe from the console may read: named folders and hosts, never the workspace, nothing by a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import ConfigError
from kajiya.core.workspace import Workspace
from kajiya.forge.corpus_look import look_apart
from kajiya.forge.corpus_reach import Reach
from support.recipes import make_sources

SOURCE = "sources:\n  - {kind: files, path: texts}\n"
NEWS = (
    "sources:\n  - kind: feed\n    urls: [https://news.example/feed]\n"
    "    hosts: [news.example]\n    folder: kept\n"
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home").create()


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    folder = tmp_path / "ground"
    (folder / "texts").mkdir(parents=True)
    return folder


@pytest.fixture
def reach(ground: Path, workspace: Workspace) -> Reach:
    return Reach.named({"folders": [str(ground)], "hosts": ["news.example"]}, workspace)


def test_what_lies_in_a_named_folder_is_read(
    reach: Reach, ground: Path, workspace: Workspace
) -> None:
    for text in (SOURCE, SOURCE.replace("texts", str(ground / "texts"))):
        recipe = reach.read(text, str(ground), workspace)
        assert recipe.places == {("sources", "0", "path"): str(ground / "texts")}
    recipe = reach.read(NEWS + "rules: kajiya-ja\n", str(ground), workspace)
    assert recipe.places[("sources", "0", "folder")] == str(ground / "kept")


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../elsewhere", "..", "/", "texts/../../home"),
        *("link", "link/passwd", "/proc/self/environ", r'"\0"', r'"/\ud800"'),
    ],
)
def test_nothing_else_is(reach: Reach, ground: Path, workspace: Workspace, path: str) -> None:
    (ground / "link").symlink_to("/etc")
    with pytest.raises(ConfigError) as refused:
        reach.read(SOURCE.replace("texts", path), str(ground), workspace)
    assert refused.value.where == "recipe.yaml:2: sources.0.path"


@pytest.mark.parametrize(
    "more",
    [
        *("rules: /etc/passwd", "rules: ../x.yaml", "rules: /nowhere", "rules: kajiya-jp"),
        "tokenizer: /etc",
        *("tokenizer: hf:some/model", "tokenizer: ../x", "tokenizer: x.gguf", "tokenizer: ~/x"),
        *("tokenizer: starter:nothing", "tokenizer: nothing", "tokenizer: ../../home/artifacts"),
        *("contamination: {items: [/etc/hosts]}", f"rules: {'x' * 5000}"),
        *(r'rules: "\0"', f"tokenizer: {'x' * 5000}", r'tokenizer: "/\ud800"', "tokenizer: ''"),
    ],
)
def test_rules_tokenizers_and_items_are_held_to_it(
    reach: Reach, ground: Path, workspace: Workspace, more: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        reach.read(f"{SOURCE}{more}\n", str(ground), workspace)
    assert refused.value.where.startswith("recipe.yaml:3: ")
    assert "/etc" not in refused.value.message  # nor whether it is there


def test_answers_are_kept_and_hosts_asked_where_it_was_allowed(
    reach: Reach, ground: Path, workspace: Workspace
) -> None:
    for wrong in (
        NEWS.replace("hosts: [news.example]", "hosts: [other.example]"),
        NEWS.replace("hosts: [news.example]", "hosts: [news.example, 127.0.0.1]"),
        NEWS.replace("hosts: [news.example]", "hosts: ['news.example:8080']"),
        NEWS.replace("folder: kept", f"folder: {workspace.home / 'cache'}"),
        NEWS.replace("folder: kept", "folder: ../kept"),
    ):
        with pytest.raises(ConfigError) as refused:
            reach.read(wrong, str(ground), workspace)
        assert refused.value.where.startswith("recipe.yaml:")


def test_a_base_is_one_of_the_folders(reach: Reach, ground: Path, workspace: Workspace) -> None:
    for base in ("/", "/etc", str(ground / "texts"), str(ground / "..")):
        with pytest.raises(ConfigError):
            reach.read(SOURCE, base, workspace)
    with pytest.raises(ConfigError):
        reach.read(SOURCE, "", workspace)  # relative to nothing


def test_nobody_named_anything(workspace: Workspace, ground: Path) -> None:
    assert Reach.of(workspace).folders == ()
    with pytest.raises(ConfigError):
        Reach.of(workspace).read(SOURCE.replace("texts", str(ground)), "", workspace)


@pytest.mark.parametrize("folder", ["/", "{home}", "{home}/jobs", "{parent}", "texts", "/nowhere"])
def test_what_cannot_be_named(workspace: Workspace, ground: Path, folder: str) -> None:
    path = folder.format(home=workspace.home, parent=workspace.home.parent)
    with pytest.raises(ConfigError):
        Reach.named({"folders": [path]}, workspace)


def test_a_link_to_the_workspace_cannot_be_named(workspace: Workspace, ground: Path) -> None:
    (ground / "link").symlink_to(workspace.home)
    with pytest.raises(ConfigError):
        Reach.named({"folders": [str(ground / "link")]}, workspace)


def test_it_is_kept(reach: Reach, workspace: Workspace) -> None:
    reach.keep(workspace)
    assert Reach.of(workspace) == reach


def test_a_look_from_another_process(tmp_path: Path, workspace: Workspace) -> None:
    folder = make_sources(tmp_path / "sources", 200).parent
    (folder / "books.jsonl").write_text("{broken\n" * 30, "utf-8")
    reach = Reach.named({"folders": [str(folder)]}, workspace)
    text = (folder / "recipe.yaml").read_text("utf-8")
    web, books = look_apart(reach.read(text, str(folder), workspace), workspace)
    assert (web.name, web.documents, web.more) == ("web", 100, True)
    assert 0 < web.kept < 100
    assert web.characters > 1000
    assert books.documents == 0
    assert len(books.problems) == 20
    assert list((workspace.cache).glob("look-*")) == []
