"""Small sources and recipes for corpora, and a look at everything that a run has made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from kajiya.corpus.artifact import register_corpus
from kajiya.corpus.recipe import Recipe, load_recipe
from kajiya.corpus.report.build import write_report
from kajiya.corpus.run.build import build
from kajiya.corpus.run.executors import Executor, Here
from kajiya.corpus.run.stage import Run
from kajiya.corpus.run.watch import Silent, Watcher
from kajiya.store.artifacts import Artifact, ArtifactStore

_SUBJECTS = ("猫", "犬", "魚", "鳥", "馬", "月", "川", "山", "町", "駅", "空", "海")
_VERBS = ("歩く", "眠る", "笑う", "走る", "待つ", "読む", "書く", "歌う", "光る", "鳴く")
_PLACES = ("東京", "京都", "大阪", "札幌", "福岡", "金沢", "長野", "神戸", "広島", "仙台")

RECIPE = """
sources:
  - {kind: table, name: web, path: web.jsonl, columns: {id: id}, licence: CC-BY-4.0, language: ja}
  - {kind: table, name: books, path: books.jsonl, columns: {id: id}, licence: CC0-1.0, language: ja}
rules: rules.yaml
personal: {}
duplicates: {near: {threshold: 0.8}, lines: {documents: 8}}
mixture:
  shares:
    - {source: web, repeats: 1}
    - {source: books, repeats: 2.5}
tokenizer: {algorithm: byte-bpe, vocab_size: 320}
shards: {size_mb: 0.004, held_out_bytes: 600}
part_mb: 0.004
"""
RULES = "rules:\n  length: {min: 40}\n"


def text(number: int, sentences: int = 8) -> str:
    """Plain Japanese, different for each number."""
    parts = []
    for line in range(sentences):
        at = number * 7 + line * 5 + number * line
        parts.append(
            f"{number}番の{_PLACES[at % 10]}では{_SUBJECTS[(at * 3 + line) % 12]}が"
            f"{_VERBS[(at // 3 + number) % 10]}と{number * 31 + line * 17}回言われている。"
        )
    return "\n".join(parts)


def make_sources(folder: Path, documents: int = 60) -> Path:
    """`recipe.yaml` and its sources: duplicates, short texts, a footer, telephone numbers among them."""
    web = []
    for number in range(documents):
        body = text(number) + "\n当サイトの記事は転載できません。"
        if number % 10 == 3:
            body = text(number - 1) + "\n当サイトの記事は転載できません。"
        if number % 10 == 7:
            body = "短い。"
        if number % 10 == 8:
            body += "\n電話は 03-1234-5678 へ。"
        row = {
            "id": f"w{number}",
            "text": body,
            "url": f"https://example.com/{number % 3}/{number}",
        }
        web.append(row | {"title": f"記事 {number}"})
    books = [
        {"id": f"b{number}", "text": text(1000 + number, 12), "title": f"本 {number}"}
        for number in range(documents // 2)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("web", web), ("books", books)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "rules.yaml").write_text(RULES, "utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, "utf-8")
    return folder / "recipe.yaml"


def follow(
    recipe: Recipe | Path,
    folder: Path,
    executor: Executor | None = None,
    watcher: Watcher | None = None,
) -> Path:
    """Build a corpus in `folder`."""
    if isinstance(recipe, Path):
        recipe = load_recipe(recipe)
    return build(Run(folder, recipe, executor or Here(), watcher or Silent()), "test")


def register(store: ArtifactStore, product: Path, name: str) -> Artifact:
    """Keep a corpus that was built in `product`, as the next version of `name`."""
    return register_corpus(store, product, name, write_report(product, name))


def digests(folder: Path) -> dict[str, str]:
    """What is in every file of a corpus."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
