"""The report of a corpus: what it says of evaluation items, in its facts and on its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kajiya.corpus import layout
from support.recipes import follow

QUESTION = "電子機器で使用される最も主要な電子回路基板の事をなんと言う？"
OTHER = "りんごを三個、みかんを五個買いました。果物は全部で何個ですか。"


@pytest.mark.parametrize("remove", ["document", "passage"])
def test_evaluation_items_that_were_found_are_counted(tmp_path: Path, remove: str) -> None:
    texts = [
        f"前の行です。\n{QUESTION}\n後の行です。",
        f"{QUESTION}\n{OTHER}\n続きの行です。",
        "何も関係のない文書です。",
    ]
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows), "utf-8")
    for name, question in (("quiz", QUESTION), ("math", OTHER)):
        line = json.dumps({"turns": [question]}, ensure_ascii=False)
        (tmp_path / f"{name}.jsonl").write_text(line, "utf-8")
    items = "[{path: quiz.jsonl, text: turns}, {path: math.jsonl, text: turns, task: sums}]"
    (tmp_path / "recipe.yaml").write_text(
        "sources: [{kind: table, path: texts.jsonl}]\n"
        f"contamination: {{remove: {remove}, items: {items}}}",
        "utf-8",
    )
    product = follow(tmp_path / "recipe.yaml", tmp_path / "run")
    facts = json.loads((product / layout.FACTS).read_text("utf-8"))
    assert facts["contamination"] == [
        {"task": "quiz", "found": 1, "documents": 2},
        {"task": "sums", "found": 1, "documents": 1},
    ]
    assert facts["totals"]["kept"] == (1 if remove == "document" else 3)
    page = (product / layout.PAGE).read_text("utf-8")
    assert "Evaluation items" in page and "<td>sums</td>" in page
    kept = "".join(layout.iterate(product / layout.DOCUMENTS).__next__()["text"])
    assert QUESTION not in kept and OTHER not in kept
