"""How an estimate looks in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kajiya.core.language import tr

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.core.hardware import Hardware
    from kajiya.training.config import TuneConfig
    from kajiya.training.estimate import Estimate


def print_estimate(
    console: Console, base: str, e: Estimate, config: TuneConfig, h: Hardware
) -> None:
    """What tuning `base` comes to and what it needs, in two lines."""
    from kajiya.core.hardware import GIB

    minutes, seconds = divmod(round(e.seconds), 60)
    source = (
        tr("measured on this machine", "この機械の実測から")
        if e.calibrated
        else tr("a first guess", "初回の目安")
    )
    console.print(
        tr(
            f"[bold]Plan[/]  {base} + {e.rows} rows × {config.epochs} epochs"
            f" = {e.tokens:,} tokens, {e.steps} steps, {e.trainable / 1e6:.1f} M trainable parameters",
            f"[bold]計画[/]  {base} + {e.rows} 行 × {config.epochs} 周"
            f" = {e.tokens:,} トークン、{e.steps} ステップ、学習する変数 {e.trainable / 1e6:.1f} M 個",
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
