"""`kajiya jobs`: what runs and what ran; watching, ending and resuming it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from kajiya.jobs.job import Job
    from kajiya.jobs.status import State
    from kajiya.jobs.supervisor import Supervisor


@click.group(
    help=tr("Running and past jobs.", "実行中と過去のジョブを扱います。")
    + """

\b
Examples:
  kajiya jobs list
  kajiya jobs log -f 20261122-0914
"""
)
def jobs() -> None:
    pass


def _supervisor() -> Supervisor:
    from kajiya.core.workspace import Workspace
    from kajiya.jobs.supervisor import Supervisor

    return Supervisor(Workspace.current())


@jobs.command(
    "list",
    help=tr("List all jobs, oldest first.", "すべてのジョブを古い順に表示します。")
    + """

\b
Examples:
  kajiya jobs list
  kajiya jobs list --json
""",
)
@click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
def list_jobs(as_json: bool) -> None:
    found = _supervisor().list()
    if as_json:
        click.echo(json.dumps([_as_dict(job) for job in found], ensure_ascii=False, indent=2))
        return
    if not found:
        click.echo(tr("There are no jobs.", "ジョブはありません。"))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "ID",
        tr("Name", "名前"),
        tr("State", "状態"),
        tr("Begun", "開始"),
        tr("Took", "時間"),
        box=None,
    )
    for job in found:
        name = job.spec.name if job.spec else "?"
        table.add_row(job.id, name, _coloured(job.state), _when(job.created), _took(job))
    Console().print(table)


@jobs.command(
    help=tr(
        "Show a job: what it is to do, where it stands, what it made, why it failed.",
        "ジョブの設定、進み具合、できたもの、失敗の理由を表示します。",
    )
    + """

JOB is an id or the beginning of one.

\b
Examples:
  kajiya jobs show 20261122-0914
"""
)
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
def show(job: str, as_json: bool) -> None:
    from kajiya.jobs.summary import summarise

    found = _supervisor().get(job)
    summary = summarise(found.events)
    if as_json:
        values = _as_dict(found) | {
            "spec": found.spec.model_dump(mode="json") if found.spec else None,
            "stages": [stage.model_dump() for stage in summary.stages.values()],
            "step": summary.step,
            "metrics": summary.metrics,
            "artifacts": [made.model_dump() for made in summary.artifacts],
            "result": found.result,
        }
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kajiya.core.printable import printable

    table = Table.grid(padding=(0, 2))

    def row(title: str, value: object) -> None:
        if value not in ("", None):
            table.add_row(
                Text(title, style="dim"), value if isinstance(value, Text) else str(value)
            )

    row("ID", found.id)
    row(tr("State", "状態"), Text.from_markup(_coloured(found.state)))
    row(tr("Begun", "開始"), _when(found.created))
    row(tr("Took", "時間"), _took(found))
    row(tr("Attempt", "回数"), found.attempt if found.attempt > 1 else "")
    row(tr("Process", "プロセス"), found.pid)
    if found.spec:
        row(tr("Kind", "種類"), found.spec.kind)
        row(tr("Name", "名前"), found.spec.name)
        for name, value in found.spec.options.items():
            row(name, Text(printable(str(value))))
    for stage in summary.stages.values():
        share = f"{stage.done:,.0f}/{stage.total:,.0f}" if stage.total else f"{stage.done:,.0f}"
        row(printable(stage.stage), f"{share} {stage.unit}")
    for name, number in summary.metrics.items():
        row(name, f"{number:.4g}")
    for made in summary.artifacts:
        row(tr("Made", "できたもの"), f"{made.kind} {made.reference}")
    row(tr("Folder", "フォルダ"), Text(str(found.folder)))
    if found.error:
        row(tr("Error", "エラー"), Text(printable(found.error.message), style="red"))
        row(tr("Where", "場所"), Text(printable(found.error.where)))
        row(tr("What to do", "対処"), Text(printable(found.error.fix)))
        row(tr("Log", "ログ"), Text(printable(found.error.traceback)))
    Console().print(table)


@jobs.command(
    help=tr(
        "Print what a job printed; with -f, watch it as it goes on.",
        "ジョブの出力を表示します。-f を付けると進行中の様子を見続けます。",
    )
    + """

\b
Examples:
  kajiya jobs log 20261122-0914
  kajiya jobs log -f 20261122-0914
"""
)
@click.argument("job")
@click.option(
    "-f", "--follow", "live", is_flag=True, help=tr("Until it ends.", "終わるまで見続けます。")
)
def log(job: str, live: bool) -> None:
    from kajiya.cli.progress import follow, report_end
    from kajiya.core.printable import printable

    supervisor = _supervisor()
    if live:
        report_end(follow(supervisor, job))
        return
    found = supervisor.get(job)
    if found.log_file.exists():
        with found.log_file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                click.echo(printable(line), nl=False)


@jobs.command(
    help=tr(
        "Have a job save and end. It can be resumed.",
        "ジョブに途中経過を保存させて終わらせます。あとで再開できます。",
    )
    + """

\b
Examples:
  kajiya jobs cancel 20261122-0914
  kajiya jobs cancel 20261122-0914 --grace 5
"""
)
@click.argument("job")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help=tr(
        "Seconds it has for saving before it is ended.",
        "保存のために待つ秒数。過ぎたら強制終了します。",
    ),
)
def cancel(job: str, grace: float) -> None:
    from kajiya.cli.progress import report_end

    supervisor = _supervisor()
    found = supervisor.get(job)
    click.echo(tr(f"Ending {found.id}…", f"{found.id} を終わらせています…"))
    report_end(supervisor.cancel(found.id, grace))


@jobs.command(
    help=tr(
        "Have a tuning end now and complete its job with what it has learnt so far.",
        "学習をここで終え、そこまでの結果でジョブを完成させます。",
    )
    + """

\b
Examples:
  kajiya jobs finish 20261122-0914
"""
)
@click.argument("job")
def finish(job: str) -> None:
    found = _supervisor().finish(job)
    click.echo(
        tr(
            f"{found.id} ends its training at the next step.",
            f"{found.id} は次のステップで学習を終えます。",
        )
    )


@jobs.command(
    help=tr(
        "Go on with a job that failed or was stopped, from its last checkpoint.",
        "失敗または中断したジョブを、最後の保存地点から続けます。",
    )
    + """

\b
Examples:
  kajiya jobs resume 20261122-0914
  kajiya jobs resume 20261122-0914 --detach
"""
)
@click.argument("job")
@click.option(
    "--detach", is_flag=True, help=tr("Do not watch it.", "再開だけして、経過は表示しません。")
)
def resume(job: str, detach: bool) -> None:
    from kajiya.cli.progress import follow, report_end

    supervisor = _supervisor()
    found = supervisor.get(job)
    _, position = found.events.read()
    resumed = supervisor.resume(found.id)
    if detach:
        click.echo(f"{resumed.id}: {resumed.state.label}")
    else:
        report_end(follow(supervisor, resumed.id, position))


@jobs.command(
    help=tr(
        "Delete jobs that have ended, with their checkpoints. What they registered stays.",
        "終わったジョブを保存地点ごと消します。登録済みの成果物は残ります。",
    )
    + """

\b
Examples:
  kajiya jobs rm 20261122-0914
  kajiya jobs rm 20261122-0914 20261122-1030 --yes
"""
)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option("--yes", is_flag=True, help=tr("Do not ask.", "確認せずに消します。"))
def rm(jobs: tuple[str, ...], yes: bool) -> None:
    supervisor = _supervisor()
    found = [supervisor.get(job) for job in jobs]
    names = ", ".join(job.id for job in found)
    if not yes:
        click.confirm(tr(f"Delete {names}?", f"{names} を消しますか?"), abort=True)
    for job in found:
        supervisor.remove(job.id)
    click.echo(tr(f"Deleted {names}.", f"{names} を消しました。"))


def _as_dict(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.spec.kind if job.spec else None,
        "name": job.spec.name if job.spec else None,
        "state": job.state.value,
        "attempt": job.attempt,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "pid": job.pid,
        "error": job.error.model_dump() if job.error else None,
    }


def _coloured(state: State) -> str:
    colours = {"succeeded": "green", "failed": "red", "lost": "red", "running": "cyan"}
    colour = colours.get(state.value, "yellow")
    return f"[{colour}]{state.label}[/{colour}]"


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def _took(job: Job) -> str:
    from kajiya.cli.progress import duration

    end = job.finished or (None if job.ended else datetime.now().timestamp())
    return duration(end - job.started) if job.started and end else ""
