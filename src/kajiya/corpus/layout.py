"""The folder of a corpus: which files are in it. An artifact of the kind `corpus` is such a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kajiya.core.errors import FormatError
from kajiya.core.language import tr

KIND = "corpus"
DOCUMENTS = (
    "documents"  # Parquet parts: the text, all that is known of it, and the rules' statistics
)
DROPPED = "dropped"  # the same of those left out, with `stage` and `reason`
INDEX = "index"  # a row for each document in the order of its number, without the text
SHARDS = "shards"  # the tokens, and corpus.json; as TOKENIZER and INDEX only where there is one
TOKENIZER = "tokenizer"
CLUSTERS = "clusters"  # what was decided of duplicates
FACTS, PAGE, RECIPE = "report.json", "report.html", "recipe.yaml"
SOURCES, MIXTURE = "sources.json", "mixture.json"


def part_files(folder: Path) -> list[Path]:
    """The parts in a folder, in order; hidden files are somebody's unfinished work."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def read_part(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a batch, or some of its columns. Raises `FormatError` if the file is damaged."""
    try:
        return pl.read_parquet(path, columns=columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(
            tr(f"the part cannot be read: {error}", f"読めません: {error}"),
            where=str(path),
            fix=tr("build the corpus again", "コーパスを作り直してください"),
        ) from None


def iterate(folder: Path, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """The batches in a folder, one after another."""
    for path in part_files(folder):
        yield read_part(path, columns)
