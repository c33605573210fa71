"""Take-down: the text is gone everywhere, the rest is as it was, and who saw it is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from kajiya.core.workspace import Workspace
from kajiya.corpus import layout
from kajiya.corpus.build import Corpus
from kajiya.corpus.removal import find
from kajiya.corpus.taking_down import holders, take_down
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from support.recipes import digests, follow, make_sources, register


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taking-down")
    return follow(make_sources(folder / "sources"), folder / "run")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(Workspace(tmp_path / "home").create())


@pytest.fixture
def corpus(store: ArtifactStore, product: Path, tmp_path: Path) -> Artifact:
    copy = shutil.copytree(product, tmp_path / "copy")
    return register(store, copy, "mixed")


def documents(artifact: Artifact) -> pl.DataFrame:
    return pl.concat(layout.iterate(artifact.folder / layout.DOCUMENTS), how="diagonal")


def sequences(artifact: Artifact) -> list[tuple[str, int, list[int], bool]]:
    """Every sequence of the shards: id of its document, offset, tokens, whether it is held out."""
    corpus = Corpus.open(artifact.folder / layout.SHARDS)
    ids, shards, held_out = documents(artifact)["id"], corpus.shards, set(corpus.held_out)
    found = []
    for number in range(len(shards)):
        document, offset = shards.document(number)
        found.append((ids[document], offset, shards[number].tolist(), number in held_out))
    return found


@pytest.mark.parametrize(
    ("request_", "gone"),
    [
        ("w5", ["w5"]),
        ("https://example.com/1/4", ["w4"]),
        ("https://example.com/2/", [f"w{n}" for n in range(2, 60, 3)]),
        ("CC0-1.0", [f"b{n}" for n in range(30)]),
    ],
)
def test_a_new_version_is_without_it(
    store: ArtifactStore, corpus: Artifact, request_: str, gone: list[str]
) -> None:
    before = documents(corpus)
    made = take_down(store, corpus, request_)
    after = documents(made)
    assert made.reference == "mixed:2"
    assert after["id"].to_list() == [id for id in before["id"] if id not in gone]
    assert sequences(made) == [row for row in sequences(corpus) if row[0] not in gone]
    assert not find(made.folder, gone[0])
    stays = {name for name in gone if name in before["id"]}
    dropped = pl.concat(layout.iterate(made.folder / layout.DROPPED), how="diagonal")
    removed = dropped.filter(pl.col("reason") == "removed")
    assert stays <= set(removed["id"])
    assert set(removed["text"]) == {""} == set(removed["title"])
    assert store.verify(made) == []


def test_its_words_are_nowhere_in_the_new_version(store: ArtifactStore, corpus: Artifact) -> None:
    text = documents(corpus).filter(pl.col("id") == "w5")["text"][0]
    made = take_down(store, corpus, "w5")
    tokenizer = ChatTokenizer.load(made.folder / layout.TOKENIZER)
    decoded = [tokenizer.decode(tokens[1:]) for _, _, tokens, _ in sequences(made)]
    assert text not in decoded
    for page in (layout.PAGE, layout.FACTS):
        assert text[:60] not in (made.folder / page).read_text("utf-8")


def test_the_description_fits_the_new_shards(store: ArtifactStore, corpus: Artifact) -> None:
    held_out = [row[0] for row in sequences(corpus) if row[3]]
    made = take_down(store, corpus, held_out[0])
    corpus_file = Corpus.open(made.folder / layout.SHARDS)
    assert corpus_file.documents == len(documents(made))
    assert corpus_file.tokens == corpus_file.shards.tokens
    assert corpus_file.sequences == len(corpus_file.shards)
    assert [row[0] for row in sequences(made) if row[3]] == held_out[1:]
    assert corpus_file.sha256 != Corpus.open(corpus.folder / layout.SHARDS).sha256


def test_the_old_version_is_untouched(store: ArtifactStore, corpus: Artifact) -> None:
    before = digests(corpus.folder)
    take_down(store, corpus, "CC0-1.0")
    assert digests(corpus.folder) == before
    assert store.verify(corpus) == []


def child(store: ArtifactStore, kind: str, name: str, parent: Artifact) -> Artifact:
    with store.draft(kind, name, parents=[parent.as_parent("corpus")]) as draft:
        (draft.folder / "file").write_text(name, "utf-8")
    return draft.artifact


def test_everything_that_saw_it_is_named(store: ArtifactStore, corpus: Artifact) -> None:
    tokenizer = child(store, "tokenizer", "words", corpus)
    model = child(store, "model", "small", corpus)
    adapter = child(store, "adapter", "polite", model)
    newer = take_down(store, corpus, "w5")
    clean = child(store, "model", "clean", newer)
    child(store, "model", "stranger", adapter)
    seen = [each.reference for each in holders(store, "mixed", "w5")]
    assert seen[0] == corpus.reference
    others = {tokenizer.reference, model.reference, adapter.reference, "stranger:1"}
    assert set(seen) == {"mixed:1"} | others, "what was made from the version without it is clean"
    assert holders(store, "mixed", "nothing") == []
    still = [each.reference for each in holders(store, "mixed", "w6")]
    assert {"mixed:1", "mixed:2", clean.reference} <= set(still)


def test_what_was_removed_before_stays_told(store: ArtifactStore, corpus: Artifact) -> None:
    twice = take_down(store, take_down(store, corpus, "w5"), "b3")
    assert [each["what"] for each in twice.manifest.details["removed"]] == ["w5", "b3"]
    licences = {licence.name: licence.source for licence in twice.manifest.licence}
    assert licences == {"CC-BY-4.0": "web", "CC0-1.0": "books"}
