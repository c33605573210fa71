"""`kajiya models create`: a new model with random weights, to be pretrained."""

from __future__ import annotations

import click

from kajiya.core.language import tr

WORLD = "world"


@click.command(
    help=tr(
        "Make a new model with random weights. It knows nothing until `kajiya train pretrain` has trained it.",
        "重みが乱数の新しいモデルを作ります。`kajiya train pretrain` で学習するまで何も知りません。",
    )
    + """

\b
Examples:
  kajiya models create --arch rwkv7 --size 25M --tokenizer world --name small
  kajiya models create --arch rwkv7 --size 8x256 --tokenizer ./my-tokenizer --name tiny
  kajiya models create --arch llama --size 25M --tokenizer small --name small-llama
"""
)
@click.option(
    "--arch",
    type=click.Choice(["rwkv7", "llama"]),
    default="rwkv7",
    show_default=True,
    help=tr("Architecture", "構造"),
)
@click.option(
    "--size",
    required=True,
    help=tr(
        "4M, 25M, 0.1B, 0.4B, 1.5B, 3B, or LAYERSxWIDTH",
        "4M 25M 0.1B 0.4B 1.5B 3B、または 層数x幅",
    ),
)
@click.option(
    "--tokenizer",
    required=True,
    metavar="REF|PATH|world",
    help=tr(
        "A tokenizer, a model whose tokenizer it is to share, a folder with tokenizer.json, or RWKV's World vocabulary",
        "トークナイザの名前、トークナイザを借りるモデル、tokenizer.json のあるフォルダ、または RWKV の World 語彙",
    ),
)
@click.option("--name", help=tr("What it is to be called  [ARCH-SIZE]", "名前  [構造-大きさ]"))
@click.option("--seed", type=int, default=0, show_default=True, help=tr("Seed", "乱数の種"))
def create(arch: str, size: str, tokenizer: str, name: str | None, seed: int) -> None:
    import tempfile
    from pathlib import Path

    from rich.console import Console

    from kajiya.core.files import check_name
    from kajiya.core.workspace import Workspace
    from kajiya.forge.tokenizers import find_tokenizer
    from kajiya.models.child import run_module
    from kajiya.store.artifacts import ArtifactStore
    from kajiya.tokenizer.world import write_world_tokenizer

    workspace = Workspace.current()
    chosen = check_name(name or f"{arch}-{size}")
    waiting = Console(stderr=True).status(tr("Making the model…", "モデルを作っています…"))
    with waiting, tempfile.TemporaryDirectory() as scratch:
        folder, owner = Path(scratch), None
        if tokenizer == WORLD:
            write_world_tokenizer(folder)
        else:
            folder, owner = find_tokenizer(tokenizer, workspace)
        parent = [owner.reference] if owner is not None and owner.kind == "tokenizer" else []
        arguments = [arch, size, str(folder.absolute()), chosen, str(seed), *parent]
        reference = run_module("kajiya.models.creating", *arguments, workspace=workspace)
    artifact = ArtifactStore(workspace).get(reference, "model")
    parameters = f"{artifact.manifest.details['parameters'] / 1e6:,.1f} M"
    click.echo(
        tr(
            f"Made {reference}: {parameters} parameters. Next:",
            f"{reference} を作りました (パラメータ {parameters})。次は:",
        )
    )
    click.echo(f"  kajiya train pretrain --model {chosen} --text PATH")
