"""`kajiya corpus mixture`: how much of each source to train on, found by small models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.corpus.mixture_search_config import MixtureSearchConfig

if TYPE_CHECKING:
    from rich.console import Console

_SURE = 0.8  # rank correlation


@click.command(
    help=tr(
        "Find how much of each source to train on: small models learn from many mixtures of a corpus"
        " (RegMix), as a job.",
        "各情報源をどの割合で学習するかを探します。小さなモデルにさまざまな配合を学習させるジョブです (RegMix)。",
    )
    + """

\b
Examples:
  kajiya corpus mixture ja
  kajiya corpus mixture ja --runs 64 --tokens 1000000 --size 4x256
"""
)
@click.argument("name")
@config_options(MixtureSearchConfig)
@click.option(
    "--detach", is_flag=True, help=tr("Do not wait for the job", "ジョブの終わりを待たない")
)
def mixture(name: str, detach: bool, overrides: dict[str, Any]) -> int:
    from rich.console import Console

    from kajiya.cli.progress import see_through
    from kajiya.core.workspace import Workspace
    from kajiya.forge.mixture_plan import start_mixture_search

    console, workspace = Console(), Workspace.current()
    job = start_mixture_search(name, MixtureSearchConfig.checked(overrides), workspace)
    return see_through(workspace, job, detach, lambda result: _print_result(console, result))


def _print_result(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from kajiya.core.printable import printable

    table = Table(box=None)
    table.add_column(tr("Source", "情報源"))
    for title in (tr("Now", "現在"), tr("Found", "見つけた配合")):
        table.add_column(title, justify="right")
    for source, *shares in zip(result["sources"], result["natural"], result["best"], strict=True):
        table.add_row(Text(printable(source)), *(f"{100 * share:.1f} %" for share in shares))
    losses = (f"{result['bits_per_byte'][name]:.4f}" for name in ("natural", "best"))
    table.add_row(tr("Bits per byte, small model", "バイトあたりビット数 (小さなモデル)"), *losses)
    console.print(table)
    _print_trust(console, result)
    console.print(tr("For the recipe:", "レシピに書く内容:"), highlight=False)
    console.print("mixture:\n  shares:", highlight=False)
    for source, share in zip(result["sources"], result["best"], strict=True):
        line = f"    - {{source: {printable(source)}, weight: {share:g}}}"
        console.print(line, markup=False, highlight=False)
    console.print("  tokens: …", highlight=False)


def _print_trust(console: Console, result: dict[str, Any]) -> None:
    """Whether the order of the mixtures, and what was found, are more than noise."""
    correlation, measured = result["rank_correlation"], result["bits_per_byte"]
    if correlation < _SURE:
        console.print(
            tr(
                f"The losses can hardly be told from noise (rank correlation {correlation:.2f}, sure from"
                f" {_SURE}): more or longer runs are needed (--runs, --tokens, --size).",
                f"損失の差が雑音と区別できません (順位相関 {correlation:.2f}、目安は {_SURE} 以上)。"
                "試行を増やすか長くしてください (--runs、--tokens、--size)。",
            ),
            style="yellow",
            highlight=False,
        )
    elif measured["best"] == measured["natural"]:
        console.print(
            tr(
                "No mixture was better than the present one: keep that.",
                "現在の配合より良いものは見つかりませんでした。変えないでください。",
            ),
            style="yellow",
            highlight=False,
        )
