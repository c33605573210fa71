"""`kajiya corpus`: from a recipe to a corpus; looking at it, comparing rules, taking documents out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.corpus_look import diff, report, show
from kajiya.cli.corpus_look import list_ as list_corpora
from kajiya.cli.corpus_mixture import mixture
from kajiya.cli.corpus_remove import remove
from kajiya.core.language import tr

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.corpus.recipe import Recipe


@click.group(
    help=tr(
        "Text for pretraining: build a corpus by a recipe, look at it, take documents out.",
        "事前学習用の文書。レシピからコーパスを作り、中身を確かめ、文書を削除します。",
    )
    + """

\b
Examples:
  kajiya corpus build examples/company-faq/recipe.yaml --name rules
  kajiya corpus report rules
"""
)
def corpus() -> None:
    pass


@corpus.command(
    help=tr(
        "Build a corpus by RECIPE, as a job that can be stopped and resumed.",
        "RECIPE に従ってコーパスを作ります。途中で止めても再開できるジョブとして動きます。",
    )
    + """

\b
Examples:
  kajiya corpus build examples/company-faq/recipe.yaml --name rules --dry-run
  kajiya corpus build examples/company-faq/recipe.yaml --name rules
  kajiya corpus build recipe.yaml --name web --workers 8
  kajiya corpus build recipe.yaml --name web --ray auto --detach
"""
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--name", required=True, help=tr("What it is to be called", "コーパスの名前"))
@click.option(
    "--dry-run",
    is_flag=True,
    help=tr(
        "Check the recipe, read the beginning of each source, and stop",
        "レシピを確かめ、各情報源の冒頭だけ読んで終わる",
    ),
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help=tr("Processes  [one for each core]", "プロセス数  [コア数]"),
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help=tr(
        "Run on the Ray cluster there (auto, ray://HOST:PORT, or local for a new one here)",
        "Ray クラスタで実行 (auto・ray://HOST:PORT、local なら手元に新しく起動)",
    ),
)
@click.option(
    "--detach", is_flag=True, help=tr("Do not wait for the job", "ジョブの終わりを待たない")
)
def build(
    recipe: Path, name: str, dry_run: bool, workers: int | None, ray: str | None, detach: bool
) -> int:
    from rich.console import Console

    from kajiya.cli.progress import see_through
    from kajiya.core.workspace import Workspace
    from kajiya.corpus.recipe import load_recipe
    from kajiya.forge.corpus_plan import plan_corpus, start_corpus

    console = Console()
    workspace = Workspace.current()
    plan = plan_corpus(load_recipe(recipe), name, workspace, workers=workers, ray=ray)
    if dry_run:
        _print_look(console, plan.options.recipe)
        return 0
    job = start_corpus(plan, workspace)
    return see_through(workspace, job, detach, lambda result: _print_result(console, result))


for command in (list_corpora, show, report, diff, mixture, remove):
    corpus.add_command(command)


def _print_look(console: Console, recipe: Recipe) -> None:
    from rich.table import Table
    from rich.text import Text

    from kajiya.core.printable import printable
    from kajiya.forge.corpus_look import look

    table = Table(box=None)
    for title in (tr("Source", "情報源"), tr("Read", "読んだ文書")):
        table.add_column(title)
    for title in (tr("Kept", "残る割合"), tr("Characters each", "平均文字数")):
        table.add_column(title, justify="right")
    problems = []
    for each in look(recipe):
        number = f"{each.documents:,}" + (tr(" (there are more)", " (続きあり)") * each.more)
        shares = ("–", "–")
        if each.documents:
            kept = f"{100 * each.kept / each.documents:.0f} %"
            shares = (kept, f"{each.characters / each.documents:,.0f}")
        table.add_row(Text(printable(each.name)), number, *shares)
        problems += [f"{each.name}: {problem}" for problem in each.problems]
    console.print(table)
    for problem in problems:
        console.print(printable(problem), style="yellow", markup=False, highlight=False)
    console.print(
        tr("Nothing was written.", "何も書き込んでいません。"), style="dim", highlight=False
    )


def _print_result(console: Console, result: dict[str, Any]) -> None:
    totals, shards = result["totals"], result["shards"]
    figures = [
        tr(
            f"{totals['kept']:,} of {totals['read']:,} documents",
            f"{totals['read']:,} 件のうち {totals['kept']:,} 件",
        ),
        tr(f"{totals['characters']:,} characters", f"{totals['characters']:,} 文字"),
    ]
    if shards:
        tokens = f"{shards['training_tokens']:,}"
        figures.append(tr(f"{tokens} training tokens", f"学習用 {tokens} トークン"))
    console.print(
        tr(
            f"[bold green]{result['reference']}[/] is ready",
            f"[bold green]{result['reference']}[/] ができました",
        )
        + f" ({', '.join(figures)}).",
        highlight=False,
    )
    console.print(f"  kajiya corpus report {result['reference']}", highlight=False)
