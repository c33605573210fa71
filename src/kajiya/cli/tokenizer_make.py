"""`kajiya tokenizer train|extend`: new tokenizers from texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.tokenizer.settings import TokenizerConfig

if TYPE_CHECKING:
    from kajiya.store.artifacts import Artifact
    from kajiya.tokenizer.training import Tell


def _text_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take: texts, a name, a licence."""
    for decorate in reversed(
        (
            click.option(
                "--text",
                "texts",
                type=click.Path(path_type=Path),
                multiple=True,
                metavar="PATH",
                help=tr(
                    "Text: a .txt, .md or .jsonl file, or a folder of them; may be given several times",
                    "文書: .txt .md .jsonl のファイルかフォルダ (複数可)",
                ),
            ),
            click.option(
                "--aozora",
                type=click.Path(path_type=Path),
                metavar="ARCHIVE",
                help=tr(
                    "An archive (.tar.xz…) of Aozora Bunko's text files",
                    "青空文庫のテキストの書庫 (.tar.xz など)",
                ),
            ),
            click.option(
                "--corpus",
                "corpora",
                multiple=True,
                metavar="REF",
                help=tr(
                    "A corpus of the workspace; may be given several times",
                    "ワークスペースのコーパス (複数可)",
                ),
            ),
            click.option("--name", required=True, help=tr("What it is to be called", "名前")),
            click.option(
                "--licence",
                "--license",
                default="",
                help=tr(
                    "The texts' licence, kept with the result", "文書のライセンス (来歴に残す)"
                ),
            ),
        )
    ):
        function = decorate(function)
    return function


@click.command(
    help=tr(
        "Train a tokenizer on texts and register it: SentencePiece Unigram, or byte-level BPE.",
        "文書からトークナイザ (SentencePiece Unigram またはバイト単位の BPE) を学習して登録します。",
    )
    + """

\b
Examples:
  kajiya tokenizer train --text novels --name ja-50k
  kajiya tokenizer train --corpus web --name ja-50k
  kajiya tokenizer train --text corpus.jsonl --name legal --vocab-size 32000 --terms terms.txt
  kajiya tokenizer train --aozora aozora.tar.xz --name words --presplit sudachi
  kajiya tokenizer train --text novels --name small --algorithm byte-bpe --vocab-size 8192
"""
)
@_text_options
@click.option(
    "--terms",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=tr(
        "Terms that are to be one token each, one a line",
        "1 トークンにする用語の一覧 (1 行に 1 つ)",
    ),
)
@config_options(TokenizerConfig)
def train(
    texts: tuple[Path, ...],
    aozora: Path | None,
    corpora: tuple[str, ...],
    name: str,
    licence: str,
    terms: Path | None,
    overrides: dict[str, Any],
) -> None:
    from kajiya.core.files import check_name
    from kajiya.core.workspace import Workspace
    from kajiya.forge import tokenizers
    from kajiya.tokenizer.terms import read_terms

    check_name(name)
    config = TokenizerConfig.checked(overrides)
    wanted = read_terms(terms) if terms else []
    source = tokenizers.Texts(texts, aozora, _find(corpora))
    with _bars() as tell:
        made = tokenizers.train(
            source, config, name, Workspace.current(), terms=wanted, licence=licence, tell=tell
        )
    _report(made)


@click.command(
    help=tr(
        "Extend a byte-level BPE tokenizer by tokens learnt from texts, each of which can be produced."
        " With --model, its model too: new rows start as the mean of the old tokens' rows.",
        "バイト単位の BPE トークナイザに、文書から学んだトークンを加えます。すべて実際に使われるトークンです。"
        "--model を付けるとモデルにも行を加えます (初期値は元のトークンの平均)。",
    )
    + """

\b
Examples:
  kajiya tokenizer extend starter:smollm2-135m --text novels --add 10000 --name smollm2-ja
  kajiya tokenizer extend my-base --text corpus.jsonl --add 4000 --name legal --model my-base-legal
"""
)
@click.argument("reference", metavar="REF")
@_text_options
@click.option(
    "--add",
    type=click.IntRange(min=1),
    required=True,
    help=tr("Tokens to add, at most", "加えるトークンの最大数"),
)
@click.option(
    "--model",
    metavar="NAME",
    help=tr(
        "Make REF's model with these tokens too, under this name",
        "REF のモデルに語彙を加えたものも、この名前で作る",
    ),
)
@click.option(
    "--sample-characters",
    type=click.IntRange(min=1000),
    default=30_000_000,
    show_default=True,
    help=tr("Characters drawn at random from more text", "これより多い文書からは無作為に選ぶ"),
)
@click.option("--seed", type=int, default=0, show_default=True, help=tr("Seed", "乱数の種"))
def extend(
    reference: str,
    texts: tuple[Path, ...],
    aozora: Path | None,
    corpora: tuple[str, ...],
    name: str,
    licence: str,
    add: int,
    model: str | None,
    sample_characters: int,
    seed: int,
) -> None:
    from rich.console import Console

    from kajiya.core.files import check_name
    from kajiya.core.workspace import Workspace
    from kajiya.forge import tokenizers

    check_name(name)
    if model is not None:
        check_name(model, "model")
    workspace = Workspace.current()
    source = tokenizers.Texts(texts, aozora, _find(corpora))
    with _bars() as tell:
        made = tokenizers.extend(
            reference,
            source,
            add,
            name,
            workspace,
            characters=sample_characters,
            seed=seed,
            licence=licence,
            tell=tell,
        )
    _report(made)
    if model is not None:
        with Console(stderr=True).status(tr("Making the model…", "モデルを作っています…")):
            extended = tokenizers.extend_model(reference, made, model, workspace)
        click.echo(f"{extended.reference}: {extended.manifest.description}")
        click.echo(f"  kajiya train pretrain --model {extended.name} --text PATH")


def _find(corpora: tuple[str, ...]) -> list[Artifact]:
    from kajiya.core.workspace import Workspace
    from kajiya.store.artifacts import ArtifactStore

    store = ArtifactStore(Workspace.current())
    return [store.get(reference, "corpus") for reference in corpora]


@contextmanager
def _bars() -> Iterator[Tell]:
    """A bar a stage on standard error; stages are `read`, `presplit` and `train`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    names = {
        "read": tr("reading", "読み込み"),
        "presplit": tr("preparing", "準備"),
        "train": tr("training", "学習"),
    }
    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:

        def tell(stage: str, done: float, total: float) -> None:
            if stage not in tasks:
                for earlier in tasks.values():
                    bars.update(earlier, total=1, completed=1)
                tasks[stage] = bars.add_task(names[stage], total=None, done="")
            shown = tr(f"{done:,.0f} characters", f"{done:,.0f} 文字") if stage == "read" else ""
            bars.update(tasks[stage], completed=done, total=total or None, done=shown)

        yield tell
        for task in tasks.values():
            bars.update(task, total=1, completed=1)


def _report(made: Artifact) -> None:
    click.echo(f"{made.reference}: {made.manifest.description}")
    click.echo(f"  kajiya tokenizer lab {made.reference} world")
    click.echo(f"  kajiya models create --tokenizer {made.reference} --size 25M")
