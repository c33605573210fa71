"""A training as an address or a form says it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from kajiya.forge.offers import PRESETS
from kajiya.forge.trainer import Choice
from kajiya.jobs.job import Job
from kajiya.server.console.forms import Field, form_fields, read_form
from kajiya.server.console.pages.data.values import ROLES
from kajiya.training.config import TuneConfig

METHODS = ("lora", "state", "lora+state")
# Chosen elsewhere on the page, or by whether there is held-out data.
_NOT_ADVANCED = ("method", "keep")
ADVANCED = tuple(name for name in TuneConfig.model_fields if name not in _NOT_ADVANCED)
# What they should be depends on other choices; empty means that.
_DEPENDENT = ("learning_rate", "evaluations")
_MOST_EVALUATIONS = 20
_COLUMN = "column-"


def read_choice(sent: Mapping[str, str]) -> tuple[Choice, dict[str, str]]:
    """The choice, and what is wrong with which field; a field that is wrong counts as not filled in."""
    tune, errors = read_form(TuneConfig, sent, only=("method", *ADVANCED))
    while tune is None and (wrong := set(errors) & set(sent)):
        kept = {name: value for name, value in sent.items() if name not in wrong}
        tune, more = read_form(TuneConfig, kept, only=("method", *ADVANCED))
        errors |= more
    tune = tune or TuneConfig()
    if not sent.get("evaluations"):
        tune = tune.model_copy(update={"evaluations": min(tune.epochs, _MOST_EVALUATIONS)})
    memory = sent.get("memory", "")
    columns = {role: sent[_COLUMN + role] for role in ROLES if sent.get(_COLUMN + role)}
    choice = Choice(
        **{name: sent.get(name, "").strip()[:300] for name in ("name", "data", "held_out", "base")},
        columns=columns,
        memory=float(memory) if memory in map(str, PRESETS) else 0.0,
        tune=tune,
    )
    return choice, errors


def advanced_fields(sent: Mapping[str, str], errors: Mapping[str, str]) -> list[Field]:
    """The folded part of the form, as it was filled in."""
    given: dict[str, Any] = {name: sent[name] for name in ADVANCED if sent.get(name)}
    given = dict.fromkeys(_DEPENDENT) | given
    return form_fields(TuneConfig, given, errors, only=ADVANCED)


def again_address(job: Job) -> str:
    """The page with everything chosen as for `job`."""
    assert job.spec is not None  # a job without one is not offered for it
    options = job.spec.options
    fields = {"name": job.spec.name, "base": options.get("base", "")}
    fields |= {
        name: f"dataset:{value}" for name in ("data", "held_out") if (value := _of(options, name))
    }
    defaults = TuneConfig()
    tune = options.get("tune") or {}
    for name in ("method", *ADVANCED):
        if name in tune and tune[name] != getattr(defaults, name):
            fields[name] = str(tune[name]).lower() if isinstance(tune[name], bool) else tune[name]
    return f"/train?{urlencode({name: value for name, value in fields.items() if value})}"


def _of(options: Mapping[str, Any], name: str) -> Any:
    return options.get("dataset" if name == "data" else name)
