"""`kajiya corpus list`, `show`, `report` and `diff`: what there is, and what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kajiya.core.language import tr


@click.command(
    "list",
    help=tr("List all corpora.", "コーパスの一覧を表示します。")
    + """

\b
Examples:
  kajiya corpus list
  kajiya corpus list --json
""",
)
@click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
def list_(as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from kajiya.core.workspace import Workspace
    from kajiya.corpus.layout import KIND
    from kajiya.store.artifacts import ArtifactStore
    from kajiya.store.card import human_size

    found = ArtifactStore(Workspace.current()).list(KIND)
    if as_json:
        rows = [
            {
                "reference": each.reference,
                "created_at": each.manifest.created_at,
                "size": each.manifest.size,
                **each.manifest.details,
            }
            for each in found
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not found:
        click.echo(tr("There are no corpora.", "コーパスはありません。"))
        return
    table = Table(box=None)
    for title in (tr("Name", "名前"), tr("Made", "作成")):
        table.add_column(title)
    for title in (tr("Documents", "文書"), tr("Tokens", "トークン"), tr("Size", "大きさ")):
        table.add_column(title, justify="right")
    for each in found:
        details = each.manifest.details
        tokens = details.get("training_tokens")
        table.add_row(
            each.reference,
            each.manifest.created_at[:16].replace("T", " "),
            f"{details['documents']:,}",
            "–" if tokens is None else f"{tokens:,}",
            human_size(each.manifest.size),
        )
    Console().print(table)


@click.command(
    help=tr(
        "Show what a corpus holds and what was left out.",
        "コーパスの内訳と、除いた文書を表示します。",
    )
    + """

NAME is a name, or name:version.

\b
Examples:
  kajiya corpus show rules
  kajiya corpus show rules:1 --json
"""
)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
def show(name: str, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kajiya.core.printable import printable
    from kajiya.core.workspace import Workspace
    from kajiya.corpus.layout import FACTS, KIND
    from kajiya.corpus.report.words import STAGES, reason
    from kajiya.store.artifacts import ArtifactStore

    artifact = ArtifactStore(Workspace.current()).get(name, KIND)
    text = (artifact.folder / FACTS).read_text(encoding="utf-8")
    if as_json:
        click.echo(text)
        return
    facts = json.loads(text)
    console = Console()
    table = Table(title=artifact.reference, title_justify="left", box=None)
    table.add_column("")
    for title in (tr("Documents", "文書"), tr("Characters", "文字数"), tr("Tokens", "トークン")):
        table.add_column(title, justify="right")
    for row in facts["groups"]["source"]:
        tokens = "" if row.get("tokens") is None else f"{row['tokens']:,}"
        label = printable(row["name"]) or tr("not known", "不明")
        table.add_row(Text(label), f"{row['kept']:,}", f"{row['characters']:,}", tokens)
    for row in facts["waterfall"]:
        (stage, stage_ja), (why, why_ja) = STAGES[row["stage"]], reason(row["reason"])
        label = f"− {tr(stage, stage_ja)}: {tr(why, why_ja)}"
        table.add_row(
            Text(label), f"{row['documents']:,}", f"{row['characters']:,}", "", style="dim"
        )
    console.print(table)
    console.print(f"kajiya corpus report {artifact.reference}", style="dim", highlight=False)


@click.command(
    help=tr(
        "Write the report of a corpus: one HTML page that needs nothing from elsewhere.",
        "コーパスのレポートを書き出します。オフラインで開ける 1 枚の HTML です。",
    )
    + """

\b
Examples:
  kajiya corpus report rules
  kajiya corpus report rules --output rules.html
"""
)
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help=tr(
        "Where to; else its place in the workspace is shown", "書き出し先 (省略時は場所を表示)"
    ),
)
def report(name: str, output: Path | None) -> None:
    from kajiya.core.files import write_text
    from kajiya.core.workspace import Workspace
    from kajiya.corpus.layout import FACTS, KIND, PAGE
    from kajiya.corpus.report.page import render
    from kajiya.store.artifacts import ArtifactStore

    artifact = ArtifactStore(Workspace.current()).get(name, KIND)
    if output is None:
        click.echo(artifact.folder / PAGE)
        return
    facts = json.loads((artifact.folder / FACTS).read_text(encoding="utf-8"))
    write_text(output, render("report", artifact.name, facts))
    click.echo(output)


@click.command(
    help=tr(
        "Compare two presets of rules on the same documents, as a page with examples.",
        "2 つの規則を同じ文書で比べ、文例つきのページにします。",
    )
    + """

The documents are the first of each source of RECIPE. A preset is a name or a YAML file.

\b
Examples:
  kajiya corpus diff examples/company-faq/recipe.yaml swallow-v1 kajiya-ja
  kajiya corpus diff recipe.yaml swallow-v1 my-rules.yaml --sample 5000 --output diff.html
"""
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("first")
@click.argument("second")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help=tr("Documents of each source.", "各情報源から読む文書の数。"),
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("diff.html"),
    show_default=True,
    help=tr("Where the page goes.", "ページの書き出し先。"),
)
def diff(recipe: Path, first: str, second: str, sample: int, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from kajiya.core.files import write_text
    from kajiya.corpus.recipe import load_recipe
    from kajiya.corpus.report.diff import compare
    from kajiya.corpus.report.page import render
    from kajiya.corpus.run.read import sample_sources

    facts = compare(sample_sources(load_recipe(recipe), sample), (first, second))
    names = facts["names"]
    write_text(output, render("diff", f"{names[0]} / {names[1]}", facts))
    table = Table(tr("Documents", "文書"), "", box=None)
    for count, label in (
        (facts["both"], tr("kept by both", "両方が残す")),
        (facts["only"][0], tr(f"only {names[0]} keeps", f"{names[0]} だけが残す")),
        (facts["only"][1], tr(f"only {names[1]} keeps", f"{names[1]} だけが残す")),
        (facts["neither"], tr("dropped by both", "両方が除く")),
    ):
        table.add_row(f"{count['documents']:,}", label)
    Console().print(table)
    click.echo(output)
