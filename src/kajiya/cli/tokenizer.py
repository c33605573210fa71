"""`kajiya tokenizer`: train, extend, compare and look at tokenizers."""

from __future__ import annotations

import json
from typing import Any

import click

from kajiya.cli import tokenizer_lab, tokenizer_make
from kajiya.core.language import tr


@click.group(
    help=tr(
        "Train, extend and compare tokenizers.",
        "トークナイザの学習、拡張、比較。",
    )
    + """

\b
Examples:
  kajiya tokenizer train --text novels --name ja-50k
  kajiya tokenizer extend starter:smollm2-135m --text novels --add 10000 --name smollm2-ja
  kajiya tokenizer lab ja-50k world starter:gemma-3-270m --text held-out.jsonl --html lab.html
  kajiya models list --kind tokenizer
"""
)
def tokenizer() -> None:
    pass


tokenizer.add_command(tokenizer_make.train)
tokenizer.add_command(tokenizer_make.extend)
tokenizer.add_command(tokenizer_lab.lab)


@tokenizer.command(
    help=tr(
        "Show a tokenizer: its kind, size, special tokens, and some of its tokens.",
        "トークナイザの方式、大きさ、特殊トークン、トークンの例を表示します。",
    )
    + """

\b
Examples:
  kajiya tokenizer show ja-50k
  kajiya tokenizer show starter:smollm2-135m --json
"""
)
@click.argument("reference", metavar="REF")
@click.option("--json", "as_json", is_flag=True, help=tr("Print JSON.", "JSON で出力します。"))
def show(reference: str, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    facts = _facts(reference)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    table = Table(box=None, show_header=False)
    labels = {
        "kind": tr("Kind", "方式"),
        "vocab_size": tr("Vocabulary", "語彙"),
        "special": tr("Special tokens", "特殊トークン"),
        "longest": tr("Longest tokens", "最も長いトークン"),
        "newest": tr("Newest tokens", "最後のトークン"),
        "gguf": tr("Export to GGUF", "GGUF への書き出し"),
        "artifact": tr("Registered as", "登録名"),
        "description": tr("Description", "説明"),
        "folder": tr("Folder", "フォルダ"),
    }
    for key, label in labels.items():
        value = facts[key]
        if isinstance(value, list):
            value = "  ".join(map(repr, value))
        if value not in ("", None):
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            table.add_row(Text(label, "bold"), Text(shown))
    Console().print(table)


def _facts(reference: str) -> dict[str, Any]:
    """What there is to know of a tokenizer, by its files."""
    from kajiya.core.errors import KajiyaError
    from kajiya.core.workspace import Workspace
    from kajiya.forge.tokenizers import find_tokenizer
    from kajiya.models.formats.gguf_tokenizer import tokenizer_metadata
    from kajiya.tokenizer.chat import ChatTokenizer
    from kajiya.tokenizer.vocabularies import open_vocabulary

    folder, artifact = find_tokenizer(reference, Workspace.current())
    vocabulary = open_vocabulary(str(folder))
    whole = [token.decode(errors="ignore") for token in vocabulary.tokens]
    facts: dict[str, Any] = {
        "kind": "SentencePiece",
        "vocab_size": vocabulary.size,
        "special": [],
        "longest": sorted(whole, key=lambda token: (-len(token), token))[:8],
        "newest": [token for token in whole[-8:] if token],
        "gguf": "",
        "artifact": artifact.reference if artifact else "",
        "description": artifact.manifest.description if artifact else "",
        "folder": str(folder),
    }
    if (folder / "tokenizer.json").is_file():
        chat = ChatTokenizer.load(folder)
        state = json.loads(chat.tokenizer.to_str())
        facts["kind"] = state["model"]["type"]
        facts["special"] = [token["content"] for token in state["added_tokens"]][:20]
        try:
            tokenizer_metadata(folder, chat.vocab_size)
            facts["gguf"] = tr("yes", "可")
        except (KajiyaError, OSError) as error:
            facts["gguf"] = tr(f"no: {error}", f"不可: {error}")
    return facts
