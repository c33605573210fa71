"""`kajiya corpus remove`: documents that may not be in a corpus any more, and who has seen them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.corpus.removal import Found
    from kajiya.store.artifacts import Artifact


@click.command(
    help=tr(
        "Make a new version of a corpus without some documents, and list what has seen them.",
        "指定した文書を除いた新しい版を作り、その文書を学習した成果物を列挙します。",
    )
    + """

WHAT is a document's id, its URL (one that ends in / means all below it), or a licence. The old version
stays until you delete it.

\b
Examples:
  kajiya corpus remove novels 1567_ruby_4948
  kajiya corpus remove web https://example.com/blog/ --yes
  kajiya corpus remove web CC-BY-NC-4.0 --dry-run
"""
)
@click.argument("name")
@click.argument("what")
@click.option("--dry-run", is_flag=True, help=tr("Only show.", "表示だけします。"))
@click.option("--yes", is_flag=True, help=tr("Do not ask.", "確認せずに実行します。"))
def remove(name: str, what: str, dry_run: bool, yes: bool) -> None:
    from rich.console import Console

    from kajiya.core.workspace import Workspace
    from kajiya.corpus.layout import KIND
    from kajiya.corpus.removal import find
    from kajiya.corpus.taking_down import holders, nothing_meant, take_down
    from kajiya.store.artifacts import ArtifactStore

    store = ArtifactStore(Workspace.current())
    artifact = store.get(name, KIND)
    found = find(artifact.folder, what)
    if not found:
        raise nothing_meant(artifact, what)
    console = Console()
    _print_found(console, artifact, what, found)
    seen = holders(store, artifact.name, what)
    _print_seen(console, seen)
    if dry_run:
        return
    if not yes:
        click.confirm(tr("Make a version without them?", "除いた版を作りますか?"), abort=True)
    made = take_down(store, artifact, what)
    console.print(
        tr(
            f"[bold green]{made.reference}[/] is without them.",
            f"[bold green]{made.reference}[/] には含まれません。",
        ),
        highlight=False,
    )
    old = ", ".join(each.reference for each in seen if each.kind == KIND)
    console.print(
        tr(
            f"Still with them: {old}. Build nothing more from these, and delete them when you can.",
            f"まだ含むもの: {old}。今後は使わず、不要になったら削除してください。",
        ),
        highlight=False,
    )


def _print_found(console: Console, artifact: Artifact, what: str, found: Found) -> None:
    fields = ", ".join(found.by)
    console.print(
        tr(
            f"{artifact.reference}: {found.documents:,} documents whose {fields} is {what}"
            f" (and {found.dropped:,} among the dropped)",
            f"{artifact.reference}: {fields} が {what} の文書 {found.documents:,} 件"
            f" (除外済みの中に {found.dropped:,} 件)",
        ),
        markup=False,
        highlight=False,
    )
    for title in found.titles:
        console.print(f"  {title}", markup=False, highlight=False, style="dim")


def _print_seen(console: Console, seen: list[Artifact]) -> None:
    from rich.table import Table

    if not seen:
        return
    table = Table(
        box=None, title=tr("Seen by", "この文書を含む・学習したもの"), title_justify="left"
    )
    table.add_column(tr("Kind", "種類"))
    table.add_column(tr("Name", "名前"))
    table.add_column(tr("Made", "作成"))
    for each in seen:
        table.add_row(each.kind, each.reference, each.manifest.created_at[:16].replace("T", " "))
    console.print(table)
