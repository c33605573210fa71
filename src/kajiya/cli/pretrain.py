"""`kajiya train pretrain`: all weights of a model, trained on running text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.training.pretrain_config import PretrainConfig

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.forge.pretrain_plan import PretrainPlan


@click.command(
    help=tr(
        "Train all weights of a model on text and register it as its next version."
        " A new model comes from `kajiya models create`.",
        "モデルの全重みを文章で学習し、次の版として登録します。新しいモデルは `kajiya models create` で作れます。",
    )
    + """

\b
Examples:
  kajiya train pretrain --model small --text ./novels --tokens 5000000
  kajiya train pretrain --model small --aozora aozora-public-domain.tar.xz
  kajiya train pretrain --model small --text corpus.jsonl --context 1024 --dry-run
  kajiya train pretrain --model small --corpus novels
"""
)
@click.option(
    "--model",
    required=True,
    metavar="REF",
    help=tr("The model to train: new, or to go on with", "学習するモデル (新規または続き)"),
)
@click.option(
    "--text",
    "texts",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help=tr(
        "Text: a .txt, .md or .jsonl file, or a folder of them; may be given several times",
        "文書: .txt .md .jsonl のファイルかフォルダ (複数可)",
    ),
)
@click.option(
    "--aozora",
    type=click.Path(path_type=Path),
    metavar="ARCHIVE",
    help=tr(
        "An archive (.tar.xz…) of Aozora Bunko's text files, whose notation is taken away",
        "青空文庫のテキストの書庫 (.tar.xz など)。注記は取り除く",
    ),
)
@click.option(
    "--corpus",
    metavar="REF",
    help=tr(
        "A corpus built by `kajiya corpus build` for this model's tokenizer",
        "`kajiya corpus build` で作ったコーパス (モデルと同じトークナイザのもの)",
    ),
)
@click.option("--name", help=tr("What the result is to be called  [MODEL]", "名前  [MODEL と同じ]"))
@click.option("--dry-run", is_flag=True, help=tr("Stop after the estimate", "見積もりまでで止める"))
@click.option(
    "--detach", is_flag=True, help=tr("Do not wait for the job", "ジョブの終わりを待たない")
)
@click.option(
    "--force",
    is_flag=True,
    help=tr("Start even if the machine looks too small", "機械が足りなくても始める"),
)
@config_options(PretrainConfig)
def pretrain(
    model: str,
    texts: tuple[Path, ...],
    aozora: Path | None,
    corpus: str | None,
    name: str | None,
    dry_run: bool,
    detach: bool,
    force: bool,
    overrides: dict[str, Any],
) -> int:
    from rich.console import Console

    from kajiya.cli.progress import see_through
    from kajiya.core.workspace import Workspace
    from kajiya.forge.pretrain_plan import plan_pretrain, start_pretrain

    console = Console()
    workspace = Workspace.current()
    with console.status(tr("Looking at model and text…", "モデルと文書を調べています…")):
        plan = plan_pretrain(
            model,
            workspace,
            texts=texts,
            aozora=aozora,
            corpus=corpus,
            name=name,
            overrides=overrides,
        )
    _print_plan(console, plan)
    if not force:
        plan.estimate.check(plan.hardware, "--batch-rows")
    if dry_run:
        return 0
    job = start_pretrain(plan, workspace)
    return see_through(workspace, job, detach, lambda result: _print_result(console, result))


def _print_plan(console: Console, plan: PretrainPlan) -> None:
    from kajiya.core.hardware import GIB

    e, h = plan.estimate, plan.hardware
    minutes, seconds = divmod(round(e.seconds), 60)
    source = (
        tr("measured on this machine", "この機械の実測から")
        if e.calibrated
        else tr("a first guess", "初回の目安")
    )
    console.print(
        tr(
            f"[bold]Plan[/]  {plan.model.reference}, {e.trainable / 1e6:.1f} M parameters, on {e.tokens:,}"
            f" tokens in {e.steps:,} steps (the text has about {plan.tokens:,})",
            f"[bold]計画[/]  {plan.model.reference} (パラメータ {e.trainable / 1e6:.1f} M) を"
            f" {e.tokens:,} トークン、{e.steps:,} ステップで学習 (文書は約 {plan.tokens:,} トークン)",
        )
    )
    console.print(
        tr(
            f"[bold]Needs[/] about {minutes} min {seconds:02d} s ({source}), {e.memory / GIB:.1f} GB of"
            f" memory ({h.memory_available / GIB:.1f} GB free), {h.cores} cores",
            f"[bold]必要[/]  約 {minutes} 分 {seconds:02d} 秒 ({source})、メモリ {e.memory / GIB:.1f} GB"
            f" (空き {h.memory_available / GIB:.1f} GB)、{h.cores} コア",
        )
    )


def _print_result(console: Console, result: dict[str, Any]) -> None:
    """Bits per byte, the time, and the model's reference."""
    training, reference = result["training"], result["reference"]
    bits = training["bits_per_byte"]
    figures = [tr(f"trained in {training['seconds']:.0f} s", f"学習 {training['seconds']:.0f} 秒")]
    if bits is not None:
        figures.append(tr(f"{bits:.3f} bits per byte", f"バイトあたり {bits:.3f} ビット"))
    console.print(
        tr(f"[bold green]{reference}[/] is ready", f"[bold green]{reference}[/] ができました")
        + f" ({', '.join(figures)}).",
        highlight=False,
    )
    console.print(f"  kajiya models show {reference}", highlight=False)
