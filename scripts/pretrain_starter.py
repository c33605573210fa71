"""Makes our own starter from an archive of Aozora Bunko: tokenizer, shards, model, training, package.

    python scripts/pretrain_starter.py train --work W --minutes 30
    python scripts/pretrain_starter.py train --work W --arch llama --tokens N   (as many as above)
    python scripts/pretrain_starter.py package --work W

Everything lies in the folder `--work`; what is there is not made again, and a killed training goes on.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import click
from starter_package import WORKS_FILE, write_package

from kajiya.core.files import atomic_folder, write_text
from kajiya.core.workspace import Workspace
from kajiya.corpus.build import Corpus, build_corpus
from kajiya.corpus.document import Document
from kajiya.corpus.sources.aozora import AozoraSource, read_aozora
from kajiya.models.creating import Architecture, create_model
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.train import train_tokenizer
from kajiya.training.pretrain import LOG_FILE, pretrain
from kajiya.training.pretrain_config import PretrainConfig
from kajiya.training.training_log import TrainingLog

ROOT = Path(__file__).resolve().parent.parent
ARCHIVE = ROOT.parent / "shared/data/aozora/aozora-public-domain.tar.xz"
_SAMPLE = 20_000_000  # bytes that the tokenizer is trained on
_PIECE = 20_000  # characters of one work among them
_TRIAL_STEPS = 6
_SHOWN_EVERY = 20  # steps


class Printed:
    """A reporter that prints, and remembers how fast steps and evaluations were."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.speeds: list[float] = []

    def progress(self, stage: str, done: float, total: float = 0, **_: Any) -> None: ...

    def metric(self, step: int, **values: float) -> None:
        if "tokens_per_second" in values:
            self.speeds.append(values["tokens_per_second"])
        if not self.quiet and (step % _SHOWN_EVERY == 0 or "loss" not in values):
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            click.echo(f"{time.strftime('%H:%M:%S')}  {step:6}  {numbers}")

    def log(self, message: str) -> None:
        click.echo(message)

    def should_stop(self) -> bool:
        return False


@click.group()
def main() -> None:
    """Make the starter model."""


@main.command()
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--aozora", type=click.Path(path_type=Path), default=ARCHIVE)
@click.option("--arch", type=click.Choice(["rwkv7", "llama"]), default="rwkv7")
@click.option("--size", default="8x256", help="A preset or LAYERSxWIDTH")
@click.option("--vocabulary", default=8192)
@click.option("--minutes", type=float, default=30.0, help="Time to train, if --tokens is not given")
@click.option("--tokens", type=int)
@click.option("--context", default=512)
@click.option("--batch-rows", default=8)
@click.option("--learning-rate", type=float, default=2e-3)
@click.option("--evaluations", default=12)
def train(
    work: Path,
    aozora: Path,
    arch: Architecture,
    size: str,
    vocabulary: int,
    minutes: float,
    tokens: int | None,
    **options: Any,
) -> None:
    """Train a model on the archive for --minutes or on --tokens."""
    tokenizer = work / "tokenizer"
    if not tokenizer.exists():
        with _told("tokenizer"), atomic_folder(tokenizer) as folder:
            train_tokenizer(
                _sample(read_aozora(AozoraSource(path=str(aozora)))), vocabulary, folder
            )
    corpus = _corpus(work, aozora, tokenizer)
    run = work / arch
    model, settings = run / "new", run / "config.yaml"
    if not model.exists():
        with atomic_folder(model) as folder:
            parameters = create_model(arch, size, tokenizer, folder)
        click.echo(f"{arch} {size}: {parameters / 1e6:.1f} M parameters")
    if not settings.exists():
        wanted = tokens or _affordable(model, corpus, run, minutes, options)
        PretrainConfig(tokens=wanted, **options).save(settings)
    config = PretrainConfig.load(settings)
    click.echo(f"training on {config.tokens:,} tokens")
    with _told("training"), atomic_folder(run / "model") as folder:
        outcome = pretrain(model, arch, corpus, config, run / "checkpoints", folder, Printed())
    click.echo(outcome)


class _told:  # noqa: N801 (it reads as a statement)
    """Print how long a block took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        self.start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        click.echo(f"{self.what}: {time.monotonic() - self.start:.0f} s")


def _sample(documents: Iterable[Document]) -> Iterator[str]:
    """Beginnings of works in a random order, up to the size that is enough for a vocabulary."""
    texts = [document.text[:_PIECE] for document in documents]
    random.Random(0).shuffle(texts)  # noqa: S311
    total = 0
    for text in texts:
        yield text
        total += len(text.encode("utf-8"))
        if total >= _SAMPLE:
            return


def _corpus(work: Path, aozora: Path, tokenizer: Path) -> Corpus:
    """The tokenised archive, and the list of its works beside it."""
    folder = work / "corpus"
    if not folder.exists():
        works: list[Document] = []

        def noted() -> Iterator[Document]:
            for document in read_aozora(AozoraSource(path=str(aozora))):
                works.append(Document(document.id, "", "", document.title, document.author))
                yield document

        with _told("corpus"):
            corpus = build_corpus(noted(), ChatTokenizer.load(tokenizer), folder)
        held_out = set(corpus.held_out)
        lines = ["id\ttitle\tauthor\tused as"]
        for index, document in enumerate(works):
            use = "held-out" if index in held_out else "training"
            lines.append(f"{document.id}\t{document.title}\t{document.author}\t{use}")
        write_text(work / WORKS_FILE, "\n".join(lines) + "\n")
    corpus = Corpus.open(folder)
    click.echo(
        f"{corpus.documents} works, {corpus.tokens:,} tokens, {len(corpus.held_out)} held out"
    )
    return corpus


def _affordable(
    model: Path, corpus: Corpus, run: Path, minutes: float, options: dict[str, Any]
) -> int:
    """Tokens that `minutes` are enough for, evaluations included, by a trial of a few steps."""
    trial = options | {"evaluations": 1}
    step_tokens = options["context"] * options["batch_rows"]
    config = PretrainConfig(tokens=_TRIAL_STEPS * step_tokens, **trial)
    place = run / f"trial-{time.time_ns()}"
    printed = Printed(quiet=True)
    pretrain(model, "trial", corpus, config, place / "checkpoints", place / "model", printed)
    log = TrainingLog(place / "model" / LOG_FILE).read()
    evaluation: float = next(line["seconds"] for line in log if line["step"] == 0)
    speed = median(printed.speeds[1:])
    click.echo(f"{speed:,.0f} tokens/s; an evaluation takes {evaluation:.1f} s")
    left: float = minutes * 60 - (options["evaluations"] + 1) * evaluation
    return max(1, round(left * speed))


@main.command()
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--target", type=click.Path(path_type=Path), default=ROOT / "starters")
def package(work: Path, target: Path) -> None:
    """Put the trained RWKV-7 into its package, with its card and curve; prints the SHA-256 to pin."""
    digest = write_package(work, target / "kajiya-starter-rwkv7")
    click.echo(f"sha256 of rwkv7-aozora in src/kajiya/models/starters.py: {digest}")


if __name__ == "__main__":
    environment = Workspace.current().environment()
    if any(os.environ.get(name) != value for name, value in environment.items()):
        # The numeric libraries read their settings when a process starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606
    main()
