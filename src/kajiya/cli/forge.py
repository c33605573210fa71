"""`kajiya forge`: the main job, from a CSV to a model that answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.training.config import TuneConfig

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 3  # answers shown side by side


@click.command(
    help=tr(
        "Tune a base model on a table of questions and answers, compare it with the base, and register it.",
        "質問と回答の表で基のモデルを学習し、学習前と比べ、使えるモデルとして登録します。",
    )
    + """

\b
Examples:
  kajiya forge examples/company-faq/faq.csv --name company-faq
  kajiya forge qa.csv --name support --base starter:smollm2-135m --epochs 5
  kajiya forge qa.csv --name support --column question=設問 --column answer=模範解答
"""
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--name", required=True, help=tr("What the new model is to be called", "新しいモデルの名前")
)
@click.option(
    "--base",
    default=None,
    help=tr("Base model  [starter:gemma-3-270m]", "基のモデル  [starter:gemma-3-270m]"),
)
@click.option(
    "--held-out",
    type=click.Path(path_type=Path),
    default=None,
    help=tr(
        "Questions kept out of training, to measure with  [paraphrases.csv or held-out.csv beside DATA, else a few rows of DATA]",
        "学習に使わず評価に使う質問  [DATA と同じ場所の paraphrases.csv か held-out.csv、なければ DATA の一部]",
    ),
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help=tr("Which column is what", "列の対応"),
)
@click.option(
    "--limit-mb",
    type=int,
    default=None,
    help=tr("Largest file accepted  [200]", "読み込む上限  [200]"),
)
@click.option(
    "--evaluate-rows",
    type=int,
    default=None,
    help=tr("Questions to ask of each set  [40]", "評価で尋ねる質問の数  [40]"),
)
@click.option("--dry-run", is_flag=True, help=tr("Stop after the estimate", "見積もりまでで止める"))
@click.option(
    "--detach", is_flag=True, help=tr("Do not wait for the job", "ジョブの終わりを待たない")
)
@click.option(
    "--force",
    is_flag=True,
    help=tr("Start even if the machine looks too small", "機械が足りなくても始める"),
)
@config_options(TuneConfig)
def forge(
    data: Path,
    name: str,
    base: str | None,
    held_out: Path | None,
    columns: tuple[str, ...],
    limit_mb: int | None,
    evaluate_rows: int | None,
    dry_run: bool,
    detach: bool,
    force: bool,
    overrides: dict[str, Any],
) -> int:
    from rich.console import Console

    from kajiya.cli.estimate import print_estimate
    from kajiya.cli.findings import parse_columns, show_findings, show_statistics
    from kajiya.cli.progress import see_through
    from kajiya.core.workspace import Workspace
    from kajiya.forge.plan import DEFAULT_BASE, make_plan, start

    console = Console()
    workspace = Workspace.current()
    with console.status(
        tr("Preparing the base model and checking the data…", "モデルの準備とデータの点検…")
    ):
        plan = make_plan(
            data,
            name,
            workspace,
            base=base or DEFAULT_BASE,
            held_out=held_out,
            columns=parse_columns(columns),
            limit_bytes=None if limit_mb is None else limit_mb * 1_000_000,
            evaluate_rows=evaluate_rows,
            overrides=overrides,
        )
    show_statistics(console, plan.data)
    show_findings(console, plan.data)
    print_estimate(console, plan.base.reference, plan.estimate, plan.config, plan.hardware)
    if not force:
        plan.estimate.check(plan.hardware)
    if dry_run:
        return 0
    job = start(plan, workspace)
    return see_through(workspace, job, detach, lambda result: _print_result(console, result, name))


def _print_result(console: Console, result: dict[str, Any], name: str) -> None:
    """The scores, a few answers side by side, and what to do next."""
    from rich.markup import escape
    from rich.table import Table

    names = {
        "held-out": tr("questions kept out of training", "学習に使わなかった質問"),
        "trained": tr("training questions", "学習した質問"),
    }
    table = Table(title=tr("Before and after", "学習の前と後"), title_justify="left")
    for heading in (
        tr("Questions", "質問"),
        tr("Number", "数"),
        tr("Base", "学習前"),
        tr("Tuned", "学習後"),
    ):
        table.add_column(heading)
    for comparison in result["comparisons"]:
        base, tuned = comparison["base"], comparison["tuned"]
        measure = "similarity" if tuned["key_facts"] is None else "key_facts"
        label = tr("wording", "文面の近さ") if measure == "similarity" else tr("key fact", "要点")
        table.add_row(
            f"{names.get(comparison['name'], comparison['name'])} ({label})",
            str(len(comparison["rows"])),
            f"{base[measure]:.0%}",
            f"[bold green]{tuned[measure]:.0%}[/]",
        )
    console.print(table)
    for row in [row for comparison in result["comparisons"] for row in comparison["rows"]][:_SHOWN]:
        console.print(f"[bold]{escape(row['question'])}[/]")
        console.print(
            f"  {tr('base ', '学習前')}  [dim]{escape(_short(row['base']))}[/]", highlight=False
        )
        console.print(f"  {tr('tuned', '学習後')}  {escape(_short(row['tuned']))}", highlight=False)
    seconds = result["training"]["seconds"]
    console.print(
        tr(
            f"\n[bold green]{result['reference']}[/] is ready (trained in {seconds:.0f} s). Next:",
            f"\n[bold green]{result['reference']}[/] ができました (学習 {seconds:.0f} 秒)。次は:",
        )
    )
    console.print(f"  kajiya chat {name}\n  kajiya serve {name}", highlight=False)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
