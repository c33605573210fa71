"""The report of a corpus: its facts as JSON and the page, written into its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kajiya.core.files import write_json, write_text
from kajiya.corpus import layout
from kajiya.corpus.build import TOKENS, Corpus
from kajiya.corpus.report.facts import collect
from kajiya.corpus.report.page import render


def write_report(folder: Path, title: str) -> dict[str, Any]:
    """Write `report.json` and `report.html` of the corpus in `folder`; returns the facts."""
    facts = collect(folder)
    facts["sources"] = json.loads((folder / layout.SOURCES).read_text(encoding="utf-8"))
    mixture = folder / layout.MIXTURE
    facts["mixture"] = (
        json.loads(mixture.read_text(encoding="utf-8"))["rows"] if mixture.exists() else []
    )
    facts["shards"] = _shards(folder / layout.SHARDS)
    write_json(folder / layout.FACTS, facts)
    write_text(folder / layout.PAGE, render("report", title, facts))
    return facts


def _shards(folder: Path) -> dict[str, Any] | None:
    if not folder.exists():
        return None
    corpus = Corpus.open(folder)
    shards = corpus.shards
    held_out = sum(int(shards.lengths[index]) for index in corpus.held_out)
    return {
        "shards": len(list(folder.glob(f"{TOKENS}*.idx"))),
        "training_tokens": corpus.tokens - held_out,
        "held_out": len(corpus.held_out),
        "held_out_bytes": corpus.held_out_size,
        "held_out_titles": list(corpus.held_out_titles),
    }
