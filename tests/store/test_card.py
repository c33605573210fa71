"""The card: everything the manifest knows, and nothing in it can break out of its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core.language import use
from kajiya.store.artifacts import ArtifactStore, Licence
from kajiya.store.card import escape, human_size, render_card


@pytest.fixture
def card(store: ArtifactStore) -> str:
    with store.draft(
        "model", "gemma", licence=[Licence(name="Gemma terms", source="gemma")]
    ) as base:
        (base.folder / "model.bin").write_bytes(b"x" * 2_500_000)
    with store.draft("dataset", "faq", description="faq.csv") as data:
        data.details |= {"rows": 120, "source": "faq|<b>.csv"}
    parents = [base.artifact.as_parent("base"), data.artifact.as_parent("data")]
    with store.draft(
        "adapter", "company-faq", parents=parents, config={"learning_rate": 2e-4}
    ) as draft:
        (draft.folder / "adapter.bin").write_bytes(b"abc")
        draft.metrics |= {"base": {"key_fact": 0.125}, "tuned": {"key_fact": 0.95}, "seconds": 90}
    store.remove("gemma", force=True)
    manifest = draft.artifact.manifest
    return render_card(manifest, store.lineage(draft.artifact))


def test_the_card_tells_all(card: str) -> None:
    for line in (
        "# company-faq:1",
        "- Base: gemma:1",
        "kajiya chat company-faq:1",
        "kajiya serve company-faq:1",
        "| key_fact | 0.125 | 0.95 |",
        "| seconds | 90 |",
        "- faq:1: faq.csv",
        "  - rows: 120",
        "  - source: faq\\|&lt;b&gt;.csv",
        "| learning_rate | 0.0002 |",
        "  - base: model gemma:1 (removed)",
        "| Gemma terms | gemma | – |",
    ):
        assert line in card.splitlines()
    assert "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in card


def test_the_card_speaks_japanese(store: ArtifactStore) -> None:
    with store.draft("model", "a") as draft:
        pass
    manifest = draft.artifact.manifest
    with use("ja"):
        assert "## 使い方" in render_card(manifest, store.lineage(draft.artifact))


@settings(deadline=None)
@given(st.text())
def test_escaped_text_stays_in_its_line_and_cell(text: str) -> None:
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    assert "<" not in escaped
    for position, char in enumerate(escaped):
        if char in "|`[]*":
            before = escaped[:position]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate", "learning_rate"),
        ("_x_", "\\_x\\_"),
        ("![x](http://a.example/y)", "!\\[x\\](http://a.example/y)"),
        ("# title", "\\# title"),
        ("1. one", "1\\. one"),
        ("- item", "\\- item"),
        ("company-faq", "company-faq"),
        ("a\nb\u202ec", "a b c"),
        ("-0.5", "-0.5"),
        ("---", "\\---"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (253_000_000, "253 MB"), (4.2e15, "4200 TB")],
)
def test_human_size(size: float, expected: str) -> None:
    assert human_size(size) == expected
