"""`kajiya train tune`: a base model and a table become an adapter: LoRA, initial state, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.training.config import TuneConfig

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.forge.tune_plan import TunePlan


@click.command(
    help=tr(
        "Tune a base model on questions and answers and register the adapter, without asking either model"
        " anything. For RWKV models, --method state learns the state that every conversation starts from.",
        "質問と回答で基のモデルを学習し、アダプタを登録します (学習前後の比較はしません)。"
        "RWKV では --method state で、会話の初期状態を学習できます。",
    )
    + """

\b
Examples:
  kajiya train tune --base my-rwkv --data persona.csv --name fox --method state
  kajiya train tune --base my-rwkv --data persona --name fox --method lora+state --epochs 5
  kajiya train tune --base starter:gemma-3-270m --data qa.csv --name support --dry-run
"""
)
@click.option(
    "--base", required=True, metavar="REF", help=tr("The model to tune", "基にするモデル")
)
@click.option(
    "--data",
    required=True,
    metavar="FILE|NAME",
    help=tr("A table, or a registered dataset", "表のファイル、または登録済みのデータ"),
)
@click.option(
    "--name", required=True, help=tr("What the adapter is to be called", "アダプタの名前")
)
@click.option(
    "--held-out",
    metavar="FILE|NAME",
    help=tr(
        "Rows kept out of training, to measure with  [paraphrases.csv or held-out.csv beside FILE, else a few rows of FILE]",
        "学習に使わず評価に使う行  [FILE と同じ場所の paraphrases.csv か held-out.csv、なければ FILE の一部]",
    ),
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help=tr("Which column is what", "列の対応"),
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
def tune(
    base: str,
    data: str,
    name: str,
    held_out: str | None,
    columns: tuple[str, ...],
    dry_run: bool,
    detach: bool,
    force: bool,
    overrides: dict[str, Any],
) -> int:
    from rich.console import Console

    from kajiya.cli.findings import parse_columns
    from kajiya.cli.progress import see_through
    from kajiya.core.workspace import Workspace
    from kajiya.forge.tune_plan import plan_tune, start_tune

    console = Console()
    workspace = Workspace.current()
    with console.status(
        tr("Preparing the base model and checking the data…", "モデルの準備とデータの点検…")
    ):
        plan = plan_tune(
            data,
            name,
            workspace,
            base=base,
            held_out=held_out,
            columns=parse_columns(columns),
            overrides=overrides,
        )
    _show(console, plan)
    if not force:
        plan.estimate.check(plan.hardware)
    if dry_run:
        return 0
    job = start_tune(plan, workspace)
    return see_through(workspace, job, detach, lambda result: _print_result(console, result))


def _show(console: Console, plan: TunePlan) -> None:
    from kajiya.cli.estimate import print_estimate
    from kajiya.cli.findings import show_findings, show_statistics
    from kajiya.data.check import CheckedData

    if isinstance(plan.data.source, CheckedData):
        show_statistics(console, plan.data.source)
        show_findings(console, plan.data.source)
    print_estimate(console, plan.base.reference, plan.estimate, plan.config, plan.hardware)


def _print_result(console: Console, result: dict[str, Any]) -> None:
    """The losses, the time, and the adapter's reference."""
    training, reference = result["training"], result["reference"]
    losses = [
        f"{words} {value:.3f}"
        for words, value in (
            (tr("training loss", "学習損失"), training["train_loss"]),
            (tr("held-out loss", "検証損失"), training["held_out_loss"]),
        )
        if value is not None
    ]
    seconds = training["seconds"]
    took = tr(f"trained in {seconds:.0f} s", f"学習 {seconds:.0f} 秒")
    console.print(
        tr(f"[bold green]{reference}[/] is ready", f"[bold green]{reference}[/] ができました")
        + f" ({', '.join([took, *losses])}).",
        highlight=False,
    )
    console.print(f"  kajiya models show {reference}", highlight=False)
