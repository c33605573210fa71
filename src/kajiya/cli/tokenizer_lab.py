"""`kajiya tokenizer lab`: tokenizers side by side, in the terminal and as an HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.tokenizer.lab import Measures, Piece, Text
    from kajiya.tokenizer.vocabularies import Vocabulary


@click.command(
    help=tr(
        "Compare tokenizers on texts: characters a token, coverage, cost, and how a sentence is cut."
        " REF is a tokenizer's or model's name, starter:NAME, world, tiktoken:o200k_base, or a path to"
        " tokenizer.json, a SentencePiece .model, or a folder with one.",
        "文書でトークナイザを比べます。1 トークンの文字数、カバー率、費用、文の分かれ方を表示します。"
        "REF はトークナイザやモデルの名前、starter:名前、world、tiktoken:o200k_base、"
        "または tokenizer.json や SentencePiece の .model (かそのフォルダ) です。",
    )
    + """

\b
Examples:
  kajiya tokenizer lab world starter:gemma-3-270m
  kajiya tokenizer lab ja-50k world tiktoken:o200k_base --text held-out.jsonl --html lab.html
  kajiya tokenizer lab ja-50k ./model/tokenizer.json --text novels --yen ja-50k=50
"""
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option(
    "--text",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help=tr(
        "Text to compare on: .txt, .md, .jsonl, or a folder; may be given several times",
        "比べる文書: .txt .md .jsonl のファイルかフォルダ (複数可)",
    ),
)
@click.option(
    "--sentence",
    help=tr(
        "The sentence shown token by token  [one of 51 characters that takes GPT-3 66 tokens]",
        "分かれ方を表示する文  [GPT-3 で 66 トークンになる 51 文字の文]",
    ),
)
@click.option(
    "--yen",
    "prices",
    multiple=True,
    metavar="[REF=]YEN",
    help=tr(
        "Price of a million tokens, for all or for one; may be given several times",
        "100 万トークンの価格 (円)。全体または REF ごと (複数可)",
    ),
)
@click.option(
    "--limit-characters",
    type=click.IntRange(min=1),
    default=5_000_000,
    show_default=True,
    help=tr("Text read at most", "読む文字数の上限"),
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help=tr("Write the comparison as a page too", "比較を HTML ページとしても保存する"),
)
@click.option("--json", "as_json", is_flag=True, help=tr("Print JSON.", "JSON で出力します。"))
def lab(
    references: tuple[str, ...],
    paths: tuple[Path, ...],
    sentence: str | None,
    prices: tuple[str, ...],
    limit_characters: int,
    html: Path | None,
    as_json: bool,
) -> None:
    from rich.console import Console

    from kajiya.core.files import write_text
    from kajiya.tokenizer.lab import EXAMPLE, measure, pieces
    from kajiya.tokenizer.lab_page import render_page

    names = list(dict.fromkeys(references))
    yen = _prices(prices, names)
    shown = sentence or EXAMPLE
    texts = list(_texts(paths, limit_characters))
    measures: list[Measures] = []
    cut: dict[str, list[Piece]] = {}
    console = Console()
    with Console(stderr=True).status("") as status:
        for name in names:
            status.update(name)
            vocabulary = _open(name)
            cut[name] = pieces(vocabulary, shown)
            if texts:
                measures.append(measure(vocabulary, texts))
    if html is not None:
        write_text(html, render_page(measures, shown, cut, yen))
    if as_json:
        click.echo(json.dumps(_as_json(measures, shown, cut, yen), ensure_ascii=False, indent=2))
        return
    if measures:
        _print_measures(console, measures, yen)
        _print_worst(console, measures)
    _print_pieces(console, shown, cut)
    if html is not None:
        console.print(tr(f"Page: {html}", f"ページ: {html}"), markup=False)


def _open(reference: str) -> Vocabulary:
    from kajiya.core.workspace import Workspace
    from kajiya.forge.tokenizers import find_tokenizer
    from kajiya.tokenizer.vocabularies import OPENAI, WORLD, open_vocabulary

    if reference == WORLD or reference.startswith(OPENAI):
        return open_vocabulary(reference)
    folder, _ = find_tokenizer(reference, Workspace.current())
    return open_vocabulary(str(folder), reference)


def _texts(paths: Sequence[Path], limit: int) -> Iterator[Text]:
    from kajiya.corpus.sources.text import read_text
    from kajiya.tokenizer.lab import Text
    from kajiya.tokenizer.sample import repaired

    left = limit
    for document in read_text(paths):
        if left <= 0:
            return
        text = repaired(document.text[:left])
        left -= len(text)
        yield Text(document.title, text)


def _prices(given: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for entry in given:
        name, _, value = entry.rpartition("=")
        try:
            yen = float(value)
        except ValueError:
            yen = -1.0
        if not 0 <= yen < float("inf") or (name and name not in names):
            raise click.BadParameter(
                tr(f"{entry!r} is no price", f"{entry!r} は価格ではありません"), param_hint="--yen"
            )
        prices |= {name: yen} if name else dict.fromkeys(names, yen)
    return prices


def _print_measures(
    console: Console, measures: Sequence[Measures], prices: Mapping[str, float]
) -> None:
    from rich.table import Table

    titles = [
        tr("Tokenizer", "トークナイザ"),
        tr("Vocabulary", "語彙"),
        tr("Tokens", "トークン数"),
        tr("Chars/token", "文字/トークン"),
        tr("Bytes/token", "バイト/トークン"),
        tr("Coverage", "カバー率"),
        tr("Parts", "断片"),
    ]
    if prices:
        titles.append(tr("Yen/1 M chars", "円/100 万文字"))
    table = Table(*titles, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    best = max(found.characters_per_token for found in measures)
    for found in measures:
        row = [
            found.name,
            f"{found.size:,}",
            f"{found.tokens:,}",
            f"{found.characters_per_token:.3f}",
            f"{found.bytes_per_token:.2f}",
            f"{100 * found.coverage:.2f} %",
            f"{100 * found.fallback:.2f} %",
        ]
        if prices:
            price = prices.get(found.name)
            row.append("–" if price is None else f"{found.cost(price):,.1f}")
        table.add_row(*row, style="bold" if found.characters_per_token == best else "")
    console.print(table)


def _print_worst(console: Console, measures: Sequence[Measures]) -> None:
    from rich.text import Text

    from kajiya.cli.findings import safe

    console.print()
    console.print(
        Text(tr("Most tokens for their length:", "長さのわりにトークンの多い文書:"), "bold")
    )
    for found in measures:
        for worst in found.worst[:1]:
            ratio = worst.characters / max(1, worst.tokens)
            label = safe(" ".join(f"{worst.title} {worst.beginning}".split()))
            console.print(
                Text(f"  {found.name}  {ratio:.2f}  {label}"), overflow="ellipsis", no_wrap=True
            )


def _print_pieces(console: Console, sentence: str, cut: Mapping[str, Sequence[Piece]]) -> None:
    from rich.text import Text

    from kajiya.cli.findings import safe

    console.print()
    for name, found in cut.items():
        count = tr(f"{len(found)} tokens", f"{len(found)} トークン")
        ratio = tr(f"{len(sentence)} characters", f"{len(sentence)} 文字")
        console.print(Text(f"{name}: {ratio}, {count}", "bold"))
        line = Text("  ")
        for number, piece in enumerate(found):
            if console.color_system is None and number:
                line.append("|")
            if piece.text is None:
                line.append(piece.bytes.hex(), "black on red")
            else:
                shown = safe(piece.text.replace("\n", "⏎"))
                line.append(shown, "black on cyan" if number % 2 else "black on yellow")
        console.print(line)


def _as_json(
    measures: Sequence[Measures],
    sentence: str,
    cut: Mapping[str, Sequence[Piece]],
    prices: Mapping[str, float],
) -> dict[str, Any]:
    return {
        "tokenizers": [
            {
                **asdict(found),
                "characters_per_token": found.characters_per_token,
                "bytes_per_token": found.bytes_per_token,
                "coverage": found.coverage,
                "byte_fallback": found.fallback,
                "yen_per_million_characters": (
                    found.cost(prices[found.name]) if found.name in prices else None
                ),
            }
            for found in measures
        ],
        "sentence": sentence,
        "pieces": {
            name: [
                {"id": piece.id, "text": piece.text, "bytes": piece.bytes.hex()} for piece in found
            ]
            for name, found in cut.items()
        },
    }
