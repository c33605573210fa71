"""`kajiya models`: the models and adapters of the workspace, what they are and where they came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from kajiya.cli import models_create, models_io, models_remote
from kajiya.core.language import tr

if TYPE_CHECKING:
    from rich.tree import Tree

    from kajiya.store.artifacts import Artifact, ArtifactStore, LineageNode

_KINDS = ("adapter", "model")
_KIND = click.option(
    "--kind",
    help=tr(
        "model, adapter, dataset…; by default adapters and models.",
        "model、adapter、dataset など。省略するとアダプタとモデル。",
    ),
)
_JSON = click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))


@click.group(
    help=tr(
        "Models and adapters. NAME is the newest version of a name, NAME:2 a certain one.",
        "モデルとアダプタを扱います。NAME は最新の版、NAME:2 はその版を指します。",
    )
    + """

\b
Examples:
  kajiya models list
  kajiya models show company-faq
  kajiya models card company-faq:1 > card.md
"""
)
def models() -> None:
    pass


models.add_command(models_create.create)
models.add_command(models_io.import_command)
models.add_command(models_io.starters)
models.add_command(models_io.export)
models.add_command(models_io.mix_states)
models.add_command(models_remote.remote)


def _store() -> ArtifactStore:
    from kajiya.core.workspace import Workspace
    from kajiya.store.artifacts import ArtifactStore

    return ArtifactStore(Workspace.current())


def _find(store: ArtifactStore, reference: str, kind: str | None) -> Artifact:
    """An adapter before a model of the same name, and either before anything else."""
    from kajiya.core.errors import NotFoundError

    for likely in _KINDS if kind is None else ():
        try:
            return store.get(reference, likely)
        except NotFoundError:
            continue
    return store.get(reference, kind)


@models.command(
    "list",
    help=tr("List models and adapters.", "モデルとアダプタを一覧にします。")
    + """

\b
Examples:
  kajiya models list
  kajiya models list --kind dataset
  kajiya models list --json
""",
)
@_KIND
@_JSON
def list_models(kind: str | None, as_json: bool) -> None:
    store = _store()
    found = [
        artifact for artifact in store.list(kind) if kind is not None or artifact.kind in _KINDS
    ]
    if as_json:
        click.echo(json.dumps([_as_dict(item) for item in found], ensure_ascii=False, indent=2))
    elif not found:
        click.echo(
            tr(
                "Nothing yet. To make a model: kajiya forge FILE.csv --name NAME",
                "まだありません。モデルを作るには: kajiya forge FILE.csv --name NAME",
            )
        )
    else:
        _print_table(found)
    for problem in store.damaged():
        click.secho(problem, fg="yellow", err=True)


def _print_table(artifacts: list[Artifact]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kajiya.store.card import human_size

    titles = (tr("Name", "名前"), tr("Kind", "種類"), tr("Base", "もと"), tr("Made", "作成"))
    table = Table(*titles, tr("Size", "大きさ"), tr("Description", "説明"), box=None)
    table.columns[4].justify = "right"
    for artifact in artifacts:
        manifest = artifact.manifest
        table.add_row(
            artifact.reference,
            artifact.kind,
            ", ".join(_bases(artifact)),
            manifest.created_at[:10],
            human_size(manifest.size),
            Text(" ".join(manifest.description.split())),
        )
    Console().print(table)


@models.command(
    help=tr(
        "Show what is known of a model: settings, measures, parents, files.",
        "モデルの設定、評価、もと、ファイルを表示します。",
    )
    + """

\b
Examples:
  kajiya models show company-faq
  kajiya models show company-faq:2 --json
"""
)
@click.argument("name")
@_KIND
@_JSON
def show(name: str, kind: str | None, as_json: bool) -> None:
    store = _store()
    artifact = _find(store, name, kind)
    if as_json:
        values = artifact.manifest.model_dump(mode="json") | {
            "reference": artifact.reference,
            "folder": str(artifact.folder),
            "manifest_sha256": artifact.manifest_sha256,
            "children": [f"{child.kind} {child.reference}" for child in store.children(artifact)],
        }
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    from kajiya.store.card import render_card

    Console().print(Markdown(render_card(artifact.manifest, store.lineage(artifact))))
    click.echo()
    for child in store.children(artifact):
        click.echo(
            tr("Made from it: ", "これをもとにしたもの: ") + f"{child.kind} {child.reference}"
        )
    click.echo(tr("Folder: ", "フォルダ: ") + str(artifact.folder))


@models.command(
    help=tr(
        "Print a model's card in Markdown, in the language in use.",
        "モデルカードを Markdown で出力します。",
    )
    + """

\b
Examples:
  kajiya models card company-faq > card.md
"""
)
@click.argument("name")
@_KIND
def card(name: str, kind: str | None) -> None:
    from kajiya.store.card import render_card

    store = _store()
    artifact = _find(store, name, kind)
    click.echo(render_card(artifact.manifest, store.lineage(artifact)), nl=False)


@models.command(
    help=tr(
        "Show what a model was made from, all the way up.",
        "モデルが何から作られたかを、さかのぼって表示します。",
    )
    + """

\b
Examples:
  kajiya models lineage company-faq
"""
)
@click.argument("name")
@_KIND
@_JSON
def lineage(name: str, kind: str | None, as_json: bool) -> None:
    store = _store()
    node = store.lineage(_find(store, name, kind))
    if as_json:
        click.echo(json.dumps(_lineage_dict(node), ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.tree import Tree

    tree = Tree(_label(node))
    _grow(tree, node)
    Console().print(tree)


def _grow(tree: Tree, node: LineageNode) -> None:
    for parent in node.parents:
        _grow(tree.add(_label(parent)), parent)


def _label(node: LineageNode) -> str:
    from rich.markup import escape

    state = {
        "present": "",
        "missing": tr(" (removed)", " (削除済み)"),
        "changed": tr(" (replaced by another)", " (別のものに置き換わっています)"),
    }[node.state]
    role = f"[dim]{escape(node.role)}:[/dim] " if node.role else ""
    return f"{role}{escape(f'{node.kind} {node.reference}')}[yellow]{state}[/yellow]"


def _lineage_dict(node: LineageNode) -> dict[str, Any]:
    return {
        "kind": node.kind,
        "reference": node.reference,
        "role": node.role,
        "state": node.state,
        "parents": [_lineage_dict(parent) for parent in node.parents],
    }


@models.command(
    help=tr(
        "Check that files are as they were when registered (all, if no name is given).",
        "ファイルが登録時のままか確かめます。名前を省くとすべて確かめます。",
    )
    + """

\b
Examples:
  kajiya models verify
  kajiya models verify company-faq
"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_KIND
def verify(names: tuple[str, ...], kind: str | None) -> None:
    store = _store()
    artifacts = [_find(store, name, kind) for name in names] if names else store.list(kind)
    unsound = 0 if names else len(store.damaged())
    for artifact in artifacts:
        problems = store.verify(artifact)
        unsound += bool(problems)
        mark = click.style("✗", fg="red") if problems else click.style("✓", fg="green")
        click.echo(f"{mark} {artifact.kind} {artifact.reference}")
        for problem in problems:
            click.echo(f"  {problem}")
    if not names:
        for problem in store.damaged():
            click.secho(problem, fg="red")
    if unsound:
        click.get_current_context().exit(1)


@models.command(
    help=tr(
        "Delete versions. Refused for what others were made from, unless forced.",
        "版を消します。ほかのもとになっているものは --force なしには消せません。",
    )
    + """

\b
Examples:
  kajiya models rm company-faq:1
  kajiya models rm company-faq:1 company-faq:2 --yes
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_KIND
@click.option("--yes", is_flag=True, help=tr("Do not ask.", "確認せずに消します。"))
@click.option(
    "--force",
    is_flag=True,
    help=tr("Even if others were made from it.", "ほかのもとになっていても消します。"),
)
def rm(names: tuple[str, ...], kind: str | None, yes: bool, force: bool) -> None:
    store = _store()
    found = [_find(store, name, kind) for name in names]
    label = ", ".join(f"{artifact.kind} {artifact.reference}" for artifact in found)
    if not yes:
        click.confirm(tr(f"Delete {label}?", f"{label} を消しますか?"), abort=True)
    for artifact in found:
        store.remove(artifact.reference, artifact.kind, force=force)
    click.echo(tr(f"Deleted {label}.", f"{label} を消しました。"))


def _bases(artifact: Artifact) -> list[str]:
    return [parent.reference for parent in artifact.manifest.parents if parent.role == "base"]


def _as_dict(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "kind": artifact.kind,
        "name": artifact.name,
        "version": artifact.version,
        "reference": artifact.reference,
        "created_at": manifest.created_at,
        "size": manifest.size,
        "base": _bases(artifact),
        "description": manifest.description,
        "metrics": manifest.metrics,
        "folder": str(artifact.folder),
    }
