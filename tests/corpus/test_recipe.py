"""Recipes: what is taken, and what a mistake looks like to whoever made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.corpus.contamination import ItemFile
from kajiya.corpus.recipe import load_recipe
from kajiya.corpus.sources import registry
from kajiya.corpus.sources.network import NetworkSource
from kajiya.corpus.sources.source import PathSource, Source
from kajiya.tokenizer.settings import TokenizerConfig

ROOT = Path(__file__).parents[2]
SOURCES = "sources:\n  - {kind: files, path: texts}\n"


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, "utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("rules: {}", "utf-8")
    items = "contamination: {items: [items.jsonl, {path: b.jsonl, text: turns}]}\n"
    found = load_recipe(recipe(tmp_path, SOURCES + items + "rules: mine.yaml\n"))
    assert getattr(found.sources[0], "path", "") == str(tmp_path / "texts")
    assert found.rules == str(tmp_path / "mine.yaml")
    assert found.contamination and found.contamination.items == (
        ItemFile(path=str(tmp_path / "items.jsonl")),
        ItemFile(path=str(tmp_path / "b.jsonl"), text="turns"),
    )
    assert load_recipe(recipe(tmp_path, SOURCES + "rules: swallow-v1\n")).rules == "swallow-v1"


def test_what_is_fetched_is_kept_beside_the_file(tmp_path: Path) -> None:
    """Wherever the program is started, and also by a job, which runs in another folder."""
    source = "{kind: pages, urls: ['https://a.example/'], hosts: [a.example], folder: kept/pages}"
    found = load_recipe(recipe(tmp_path, f"sources:\n  - {source}\n"))
    assert getattr(found.sources[0], "folder", "") == str(tmp_path / "kept" / "pages")
    assert getattr(found.without_folders().sources[0], "folder", "") == "pages"


def test_a_tokenizer_is_named_or_described(tmp_path: Path) -> None:
    assert load_recipe(recipe(tmp_path, SOURCES + "tokenizer: small:2\n")).tokenizer == "small:2"
    found = load_recipe(recipe(tmp_path, SOURCES + "tokenizer: {vocab_size: 400}\n"))
    assert isinstance(found.tokenizer, TokenizerConfig) and found.tokenizer.vocab_size == 400


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        (SOURCES + "ruels: kajiya-ja\n", "recipe.yaml:3: ruels", "no such setting"),
        (SOURCES + "\nshards:\n  size: 3\n", "recipe.yaml:5: shards.size", "no such setting"),
        ("sources:\n  - kind: files\n    pth: x\n", "recipe.yaml:2: sources.0.path", "required"),
        ("sources:\n  - kind: fils\n    path: x\n", "recipe.yaml:2: sources.0", "files"),
        ("sources: []\n", "recipe.yaml:1: sources", "at least 1"),
        (SOURCES + "part_mb: -1\n", "recipe.yaml:3: part_mb", "greater than 0"),
        (SOURCES + "rules: a\nrules: b\n", "recipe.yaml:4", "twice"),
        (SOURCES + "rules: [\n", "recipe.yaml:4", "YAML"),
        ("- a\n", "recipe.yaml", "mapping"),
        ("", "recipe.yaml", "mapping"),
        ("a: !!python/object/apply:os.system [id]\n", "recipe.yaml:1", "YAML"),
        (
            "sources:\n  - {kind: files, path: a}\n  - {kind: files, path: b}\n",
            "recipe.yaml:1",
            "called files",
        ),
    ],
)
def test_mistakes_are_told_with_file_line_and_field(
    tmp_path: Path, text: str, where: str, says: str
) -> None:
    with pytest.raises(ConfigError) as told:
        load_recipe(recipe(tmp_path, text))
    assert where in told.value.where
    assert says in told.value.message
    assert "\n" not in told.value.message


@pytest.mark.parametrize("bomb", ["powers", "ring"])
def test_references_do_no_harm(tmp_path: Path, bomb: str) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 12)}]" for i in range(1, 30)]
    text = "\n".join(lines) if bomb == "powers" else "sources: &a [*a]\nb: *a\n"
    with pytest.raises(ConfigError):
        load_recipe(recipe(tmp_path, text))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        load_recipe(tmp_path / "recipe.yaml")


def test_the_result_depends_on_what_the_recipe_says(tmp_path: Path) -> None:
    one = load_recipe(recipe(tmp_path, SOURCES))
    other = load_recipe(recipe(tmp_path, SOURCES + "seed: 1\n"))
    assert one.fingerprint == load_recipe(recipe(tmp_path, "# a note\n" + SOURCES)).fingerprint
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("name", ["company-faq", "corpus-ja"])
def test_the_examples_are_recipes(name: str) -> None:
    assert load_recipe(ROOT / "examples" / name / "recipe.yaml").sources


def test_what_is_kept_of_a_recipe_names_no_folder(tmp_path: Path) -> None:
    items = "contamination: {items: [items.jsonl]}\nrules: swallow-v1\n"
    found = load_recipe(recipe(tmp_path, SOURCES + items)).without_folders()
    assert str(tmp_path) not in found.model_dump_json()
    assert found.rules == "swallow-v1" and getattr(found.sources[0], "path", "") == "texts"


def test_places_are_told_with_their_fields(tmp_path: Path) -> None:
    text = (
        SOURCES
        + "  - {kind: feed, name: news, urls: [https://example.com/feed], hosts: [example.com], folder: kept}\n"
        + "rules: kajiya-ja\ncontamination: {items: [items.jsonl]}\n"
    )
    found = load_recipe(recipe(tmp_path, text))
    assert found.places == {
        ("sources", "0", "path"): str(tmp_path / "texts"),
        ("sources", "1", "folder"): str(tmp_path / "kept"),
        ("rules",): "kajiya-ja",
        ("contamination", "items", "0"): str(tmp_path / "items.jsonl"),
    }
    assert found.without_folders().places[("sources", "1", "folder")] == "kept"


def test_no_source_has_a_place_that_recipes_do_not_tell() -> None:
    common = set(Source.model_fields)
    for kind, (settings, _) in registry.SOURCES.items():
        own = set(settings.model_fields) - common
        assert issubclass(settings, PathSource | NetworkSource), kind
        assert len(own & {"path", "folder", "file", "files", "paths"}) == 1, kind
