"""From a recipe to the folder of a corpus, all stages one after another.

Each stage leaves its output in the run's folder and skips what is finished, so a run that was ended in
any way goes on when it is begun again, and ends with the same corpus. Which stages there are: read,
filter, decide, select, tokenise, assemble, and then the report.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from kajiya.core.errors import ResourceError
from kajiya.core.files import atomic_folder, write_json, write_text
from kajiya.core.language import tr
from kajiya.corpus import layout
from kajiya.corpus.artifact import link
from kajiya.corpus.report.build import write_report
from kajiya.corpus.run.assemble import assemble
from kajiya.corpus.run.decide import STAGE as DECIDED
from kajiya.corpus.run.decide import decide
from kajiya.corpus.run.filter import filter_parts
from kajiya.corpus.run.parts import Part
from kajiya.corpus.run.read import read_sources, source_facts
from kajiya.corpus.run.select import select_parts
from kajiya.corpus.run.stage import Run
from kajiya.corpus.run.tokenise import STAGE as TOKENISED
from kajiya.corpus.run.tokenise import tokenise_parts, train_tokenizer

_NO_SPACE = (28, 122)  # ENOSPC and EDQUOT


def build(run: Run, title: str) -> Path:
    """Do what is still to be done; returns the corpus's folder, which `title` heads the report of.

    A tokenizer that the recipe only names has to lie in the run's folder `tokenizer` before. Raises
    `Stopped` when the watcher asks for it, `ConflictError` if another run is at work in the folder,
    `ResourceError` if the disk is full, and what stages raise.
    """
    product = run.folder / "corpus"
    if product.exists():
        return product
    try:
        with run.alone():
            _follow(run, product, title)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise ResourceError(
            tr("the disk is full", "ディスクの空きがありません"),
            where=str(run.folder),
            fix=tr(
                "make room and resume: what is finished stays",
                "空きを作って再開してください。終わった分は残っています",
            ),
        ) from None
    return product


def _follow(run: Run, product: Path, title: str) -> None:
    parts = read_sources(run)
    filter_parts(run, parts)
    decide(run, parts)
    select_parts(run, parts)
    if run.recipe.tokenizer is not None:
        train_tokenizer(run)
        tokenise_parts(run, parts)
        assemble(run, parts)
    with atomic_folder(product) as scratch:
        _gather(run, parts, scratch)
        write_report(scratch, title)


def _gather(run: Run, parts: list[Part], target: Path) -> None:
    """What belongs to the corpus, without copying it where that is possible."""
    for name in (layout.DOCUMENTS, layout.DROPPED):
        for part in parts:
            path = run.task(part).path(name)
            link(path, target / name / path.name)
    decided = run.folder / DECIDED
    for path in sorted(decided.glob("*.parquet")) if decided.exists() else ():
        link(path, target / layout.CLUSTERS / path.name)
    if run.recipe.tokenizer is not None:
        for part in parts:
            path = run.task(part).path(TOKENISED)
            link(path, target / layout.INDEX / path.name)
        for name in (layout.SHARDS, layout.TOKENIZER):
            for path in sorted((run.folder / name).iterdir()):
                if not path.name.startswith("."):
                    link(path, target / name / path.name)
    if (run.folder / layout.MIXTURE).exists():
        link(run.folder / layout.MIXTURE, target / layout.MIXTURE)
    write_json(target / layout.SOURCES, source_facts(run))
    recipe = run.recipe.without_folders().model_dump(mode="json")
    write_text(target / layout.RECIPE, yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False))
