"""All sources by their kind: settings from a recipe, what they refuse, and the pages that describe them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.sources.network import NetworkSource
from kajiya.corpus.sources.registry import SOURCES, SourceSettings, open_source, source_settings
from kajiya.corpus.sources.source import PathSource, Source

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "docs/corpus-sources.md", ROOT / "docs/ja/corpus-sources.md"]


class Recipe(Config):
    """As a recipe holds them."""

    sources: list[SourceSettings] = option(en="Sources", ja="情報源")


def test_every_kind_says_its_own_name() -> None:
    for kind, (settings, _) in SOURCES.items():
        assert settings.model_fields["kind"].default == kind


def test_a_source_as_plain_values(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("本文", "utf-8")
    given = {
        "kind": "files",
        "path": str(tmp_path),
        "licence": "CC0-1.0",
        "collected_at": "2026-01-02",
    }
    [found] = open_source(source_settings(given))
    assert (found.source, found.licence, found.collected_at) == ("files", "CC0-1.0", "2026-01-02")
    [again] = open_source(Recipe.checked({"sources": [given | {"name": "mine"}]}).sources[0])
    assert (again.source, again.text) == ("mine", found.text)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"kind": "ftp", "path": "x"}, "recipe.yaml: kind"),
        ({"path": "x"}, "recipe.yaml: kind"),
        ({"kind": "files", "path": "x", "colour": 1}, "recipe.yaml: colour"),
        ({"kind": "files"}, "recipe.yaml: path"),
        ({"kind": "files", "path": ""}, "recipe.yaml: path"),
        ({"kind": "files", "path": "x", "collected_at": "yesterday"}, "recipe.yaml: collected_at"),
        ({"kind": "pages", "urls": ["http://a"], "folder": "f"}, "recipe.yaml: hosts"),
        ({"kind": "pages", "urls": ["http://a"], "folder": "f", "hosts": []}, "recipe.yaml: hosts"),
        ({"kind": "pages", "urls": ["a"], "folder": "f", "hosts": ["a/b"]}, "recipe.yaml: hosts.0"),
        ({"kind": "pages", "urls": ["a"], "folder": "f", "hosts": ["*"]}, "recipe.yaml: hosts.0"),
        ({"kind": "diet", "folder": "f", "since": "2026", "until": "x"}, "recipe.yaml: since"),
    ],
)
def test_wrong_settings_are_refused_with_file_and_field(values: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as error:
        source_settings(values, "recipe.yaml")
    assert error.value.where == where
    if values.get("kind") in SOURCES and "colour" not in values:
        with pytest.raises(ConfigError, match=where.removeprefix("recipe.yaml: ")):
            Recipe.checked({"sources": [values]})


def test_half_characters_are_reported_and_empty_documents_passed_over(
    tmp_path: Path, problems: list[DataError]
) -> None:
    lines = [
        r'{"text": "\ud83d"}',
        '{"text": " "}',
        r'{"text": "\ud83d\ude00"}',
        '{"text": "a", "title": "\\udc00"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), "utf-8")
    settings = source_settings({"kind": "table", "path": str(tmp_path)})
    assert [document.text for document in open_source(settings, problems.append)] == ["😀\n"]
    assert [problem.where for problem in problems] == ["a.jsonl:1", "a.jsonl:4"]
    with pytest.raises(DataError):
        list(open_source(settings))


@pytest.mark.parametrize("page", PAGES, ids=["en", "ja"])
def test_the_page_describes_every_setting_and_no_other(page: Path) -> None:
    sections = re.split(r"^##+ ", page.read_text("utf-8"), flags=re.MULTILINE)
    described = {
        section.split("\n")[0].strip("`"): set(
            re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
        )
        for section in sections
    }
    common, network = described[sections_named(page)[0]], described[sections_named(page)[1]]
    assert common == set(Source.model_fields)
    assert network == set(NetworkSource.model_fields) - common
    for kind, (settings, _) in SOURCES.items():
        base = NetworkSource if issubclass(settings, NetworkSource) else PathSource
        own = {
            name
            for name, field in settings.model_fields.items()
            if name not in base.model_fields or field.default != base.model_fields[name].default
            or field.default_factory != base.model_fields[name].default_factory
        } - {"kind"}  # fmt: skip
        if base is PathSource:
            own.add("path")
        assert described[kind] == own, kind


def sections_named(page: Path) -> tuple[str, str]:
    return (
        ("共通の設定", "ネットワーク")
        if page.parent.name == "ja"
        else ("Settings of all sources", "The network")
    )


@pytest.mark.parametrize("page", PAGES, ids=["en", "ja"])
def test_the_recipes_on_the_page_are_valid(page: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        Recipe.checked(yaml.safe_load(block))
