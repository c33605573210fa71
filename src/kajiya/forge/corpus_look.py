"""A look at the sources of a recipe before it is followed: the beginning of each, and what the rules keep of it.

Reading files of anybody's making takes memory and time, so a server has it done in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kajiya.core.errors import DataError
from kajiya.core.files import write_text
from kajiya.core.printable import one_line
from kajiya.core.workspace import Workspace
from kajiya.corpus.document import to_frame
from kajiya.corpus.recipe import Recipe, source_name
from kajiya.corpus.run.filter import filtered
from kajiya.corpus.sources.registry import open_source
from kajiya.models.child import report, run_module

_DOCUMENTS = 100  # of each source
_PROBLEMS = 20  # of each source
_SECONDS = 120


@dataclass(frozen=True)
class SourceLook:
    """The beginning of a source: documents, how many the rules keep, their characters, problems."""

    name: str
    documents: int
    kept: int
    characters: int
    more: bool
    problems: tuple[str, ...]


def look(recipe: Recipe) -> list[SourceLook]:
    """Read the beginning of each source and filter it, writing nothing."""
    return [_look(recipe, source) for source in recipe.sources]


def look_apart(recipe: Recipe, workspace: Workspace) -> list[SourceLook]:
    """`look` in a process of its own. Raises what it raises, and `ResourceError` if it takes too long."""
    workspace.create()
    with tempfile.TemporaryDirectory(dir=workspace.cache, prefix="look-") as folder:
        path = Path(folder) / "recipe.json"
        write_text(path, recipe.model_dump_json())
        said = run_module(
            "kajiya.forge.corpus_look", str(path), workspace=workspace, seconds=_SECONDS
        )
    return [
        SourceLook(**(each | {"problems": tuple(each["problems"])})) for each in json.loads(said)
    ]


def _look(recipe: Recipe, source: Any) -> SourceLook:
    problems: list[str] = []

    def note(problem: DataError) -> None:
        if len(problems) < _PROBLEMS:
            problems.append(one_line(f"{problem.where}: {problem.message}"))

    found = list(islice(open_source(source, note), _DOCUMENTS + 1))
    frame = to_frame(found[:_DOCUMENTS])
    kept, _ = filtered(frame, recipe)
    return SourceLook(
        name=source_name(source),
        documents=len(frame),
        kept=len(kept),
        characters=int(frame["text"].str.len_chars().sum()),
        more=len(found) > _DOCUMENTS,
        problems=tuple(problems),
    )


def _main() -> str:
    recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_bytes())
    return json.dumps([asdict(each) for each in look(recipe)], ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(report(_main))
