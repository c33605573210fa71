"""Everything before the start of a corpus's job: the recipe and its tokenizer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.files import check_name
from kajiya.core.hardware import physical_cores
from kajiya.core.workspace import Workspace
from kajiya.corpus.contamination import read_items
from kajiya.corpus.recipe import Recipe
from kajiya.corpus.rules.preset import load_preset
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
from kajiya.models.resolve import resolve_folder
from kajiya.store.artifacts import ArtifactStore


class CorpusOptions(Config):
    """What a corpus's job is told. Kept in the job's `config.yaml`; paths are absolute."""

    recipe: Recipe = option(en="Recipe", ja="レシピ")
    tokenizer: str | None = option(None, en="Tokenizer's folder", ja="トークナイザのフォルダ")
    workers: int = option(1, en="Processes", ja="プロセス数", ge=1, le=1024)
    ray: str | None = option(None, en="Ray cluster", ja="Ray クラスタ")


@dataclass(frozen=True)
class CorpusPlan:
    """A corpus that could be begun now."""

    name: str
    options: CorpusOptions


def plan_corpus(
    recipe: Recipe,
    name: str,
    workspace: Workspace,
    *,
    workers: int | None = None,
    ray: str | None = None,
) -> CorpusPlan:
    """Find what the recipe names, before hours are spent on the first stages.

    Raises `ConfigError` for a bad name, `DataError` for evaluation items that are none, and what finding the
    tokenizer raises.
    """
    check_name(name)
    if recipe.rules:
        load_preset(recipe.rules)
    for items in recipe.contamination.items if recipe.contamination else ():
        for _ in read_items(items):
            pass
    tokenizer = None
    if isinstance(recipe.tokenizer, str):
        tokenizer = str(_tokenizer_folder(recipe.tokenizer, workspace).absolute())
    options: dict[str, Any] = {"workers": workers or physical_cores(), "ray": ray}
    return CorpusPlan(name, CorpusOptions(recipe=recipe, tokenizer=tokenizer, **options))


def start_corpus(plan: CorpusPlan, workspace: Workspace) -> Job:
    """Start the job."""
    options = plan.options.model_dump(mode="json")
    return Supervisor(workspace).start(JobSpec(kind="corpus", name=plan.name, options=options))


def _tokenizer_folder(reference: str, workspace: Workspace) -> Path:
    """Where the tokenizer of a reference lies: a tokenizer's or a model's name, a starter, a folder."""
    if "/" not in reference:
        with suppress(NotFoundError, ConfigError):
            return ArtifactStore(workspace).get(reference, "tokenizer").folder
    return resolve_folder(reference, workspace)
