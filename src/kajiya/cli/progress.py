"""A job's events in the terminal as they come: bars, the live loss, and log lines above them.

Where there is no terminal, plain lines. Only watches: leaving it leaves the job running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import click

from kajiya.core.events import ArtifactMade, Event, Log, Metric, Progress
from kajiya.core.language import tr
from kajiya.core.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from kajiya.core.workspace import Workspace
    from kajiya.jobs.job import Job
    from kajiya.jobs.supervisor import Supervisor

_LEVELS = {"info": "", "warning": "yellow", "error": "red"}


def follow(
    supervisor: Supervisor, job_id: str, position: int = 0, console: Console | None = None
) -> Job:
    """Show a job from byte `position` of its events until it ends; returns it as it is then.

    Ctrl-C stops watching, says how to come back, and returns the running job.
    """
    from rich.console import Console

    console = console or Console()
    job = supervisor.get(job_id)
    events = supervisor.follow(job.id, position)
    try:
        if console.is_terminal:
            _follow_in_terminal(console, events)
        else:
            _show(_Lines(), events)
    except KeyboardInterrupt:
        again = f"kajiya jobs log -f {job.id}"
        click.echo(
            tr(
                f"\nThe job goes on. To watch it again: {again}",
                f"\nジョブは続いています。もう一度見るには: {again}",
            )
        )
    return supervisor.get(job.id)


def see_through(
    workspace: Workspace,
    job: Job,
    detach: bool,
    print_result: Callable[[dict[str, Any]], None],
) -> int:
    """What a command that started `job` does from then on: its exit status. Raises what `report_end` does."""
    from kajiya.jobs.supervisor import Supervisor

    click.echo(tr(f"Job {job.id} started.", f"ジョブ {job.id} を始めました。"))
    if detach:
        click.echo(f"  kajiya jobs log -f {job.id}")
        return 0
    job = follow(Supervisor(workspace), job.id)
    report_end(job)
    if job.result is None:
        return 1 if job.ended else 0
    print_result(job.result)
    return 0


def report_end(job: Job) -> None:
    """Say how a job ended; raises `JobError` if it failed or was lost. Says nothing while it runs."""
    from kajiya.core.errors import JobError

    if job.error is not None:
        raise JobError(
            job.error.message,
            where=job.error.where,
            fix=job.error.fix or f"kajiya jobs show {job.id}",
        )
    if job.ended:
        click.echo(f"{job.id}: {job.state.label}")
        if job.state.resumable:
            again = f"kajiya jobs resume {job.id}"
            click.echo(tr(f"To go on with it: {again}", f"続けるには: {again}"))


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Display(Protocol):
    def log(self, message: str, level: str) -> None: ...

    def progress(self, event: Progress, numbers: str) -> None: ...


def _show(display: _Display, events: Iterable[Event]) -> None:
    numbers, stage, fresh = "", "", False
    for event in events:
        if isinstance(event, Progress):
            if event.stage != stage and not fresh:
                numbers = ""  # they belong to the stage that measured them
            stage, fresh = event.stage, False
            display.progress(event, numbers)
        elif isinstance(event, Metric):
            numbers, fresh = _numbers(event) or numbers, True
        elif isinstance(event, Log):
            display.log(printable(event.message), event.level)
        elif isinstance(event, ArtifactMade):
            what = f"{event.kind} {event.reference}"
            display.log(tr(f"registered {what}", f"{what} を登録しました"), "info")


def _stage(name: str) -> str:
    """A stage's name for people; one that is not known is shown as it is."""
    names = {
        "tokenise": tr("tokenising", "トークン化"),
        "train": tr("training", "学習"),
        "held-out": tr("held-out loss", "検証損失"),
        "ask-held-out": tr("asking held-out questions", "検証用の質問"),
        "ask-trained": tr("asking training questions", "学習した質問"),
        "read": tr("reading sources", "情報源の読み込み"),
        "filter": tr("applying rules", "規則の適用"),
        "exact": tr("comparing texts", "重複の検出"),
        "near": tr("comparing shingles", "類似文書の検出"),
        "lines": tr("counting lines", "行の計数"),
        "select": tr("writing documents", "文書の書き出し"),
        "tokenizer": tr("training a tokenizer", "トークナイザの学習"),
        "assemble": tr("writing shards", "シャードの書き出し"),
    }
    return names.get(name, printable(name))


def _numbers(event: Metric) -> str:
    parts = []
    if "loss" in event.values:
        parts.append(tr("loss", "損失") + f" {event.values['loss']:.3f}")
    if "tokens_per_second" in event.values:
        speed = f"{event.values['tokens_per_second']:,.0f}"
        parts.append(tr(f"{speed} tokens/s", f"{speed} トークン/秒"))
    return "  ".join(parts)


class _Lines:
    """For logs and pipes: a line at a stage's start, every tenth of it, and at its end."""

    def __init__(self) -> None:
        self._tenths: dict[str, int] = {}

    def log(self, message: str, level: str) -> None:
        click.echo(message)

    def progress(self, event: Progress, numbers: str) -> None:
        tenth = int(10 * event.done / event.total) if event.total else 0
        if self._tenths.get(event.stage) == tenth:
            return
        self._tenths[event.stage] = tenth
        share = f"{event.done:,.0f}/{event.total:,.0f} {event.unit}" if event.total else ""
        click.echo(
            "  ".join(part.strip() for part in (_stage(event.stage), share, numbers) if part)
        )


def _follow_in_terminal(console: Console, events: Iterable[Event]) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[remaining]}", style="cyan", markup=False),
        TextColumn("{task.fields[numbers]}", style="dim", markup=False),
    )
    with Bars(*columns, console=console, refresh_per_second=5) as bars:
        _show(_Bars(bars), events)


class _Bars:
    """A bar a stage; the stage in progress carries the latest numbers."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def log(self, message: str, level: str) -> None:
        self._bars.console.print(message, style=_LEVELS[level], markup=False, highlight=False)

    def progress(self, event: Progress, numbers: str) -> None:
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._bars.add_task(
                _stage(event.stage), total=None, remaining="", numbers=""
            )
        left = event.remaining_seconds
        self._bars.update(
            self._tasks[event.stage],
            completed=int(event.done),
            total=int(event.total) or None,
            remaining=tr(f"{duration(left)} left", f"残り {duration(left)}") if left else "",
            numbers=numbers,
        )
