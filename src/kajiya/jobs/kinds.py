"""The kinds of jobs there are, and the function that each one runs.

Only what is listed here (or given to a `Supervisor` by the program that makes it) can run: a job's
folder names a kind, never code.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.jobs.running import RunningJob

Entry = Callable[[RunningJob], dict[str, Any]]

# Names, not functions: importing the functions imports torch, which only the job's process needs.
KINDS: Mapping[str, str] = {
    "forge": "kajiya.forge.work:run",
    "tune": "kajiya.forge.tune_work:run",
    "pretrain": "kajiya.forge.pretrain_work:run",
    "export": "kajiya.forge.export_work:run",
    "corpus": "kajiya.forge.corpus_work:run",
    "take-down": "kajiya.forge.take_down_work:run",
    "mixture": "kajiya.forge.mixture_work:run",
}

# Those that can end early with a result; the others can only be stopped.
FINISHABLE = ("forge", "tune")


def entry_of(kind: str, kinds: Mapping[str, str]) -> str:
    """`module:function` of a kind; raises `ConfigError` naming the known ones."""
    if kind not in kinds:
        raise ConfigError(
            tr(f"there is no kind of job {kind!r}", f"{kind!r} という種類のジョブはありません"),
            where="kind",
            fix=tr(f"kinds: {', '.join(kinds)}", f"使える種類: {', '.join(kinds)}"),
        )
    return kinds[kind]


def load_entry(entry: str) -> Entry:
    """Import `module:function`."""
    module, _, function = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), function)
    return found
