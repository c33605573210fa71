"""Everything before the start of a tuning job: data, base, method and estimate. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kajiya.core.files import check_name
from kajiya.core.hardware import Hardware, probe
from kajiya.core.workspace import Workspace
from kajiya.data.check import CheckedData, check_file
from kajiya.data.dataset import KIND, load_dataset, register_dataset
from kajiya.data.rows import Row
from kajiya.forge.options import TuneOptions
from kajiya.forge.plan import base_model, check_method, estimate_rows, find_held_out
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.training.config import TuneConfig
from kajiya.training.estimate import Estimate


@dataclass(frozen=True)
class Data:
    """Rows to train on or to hold out: from a checked file, or already a dataset of the workspace."""

    source: CheckedData | Artifact
    rows: tuple[Row, ...]
    where: str

    def registered(self, store: ArtifactStore, name: str) -> str:
        """The reference of the dataset, registered as `name` if it was a file."""
        if isinstance(self.source, Artifact):
            return self.source.reference
        return register_dataset(store, self.source, name, self.where).reference


@dataclass(frozen=True)
class TunePlan:
    """A tuning that could start now."""

    name: str
    base: Artifact
    data: Data
    held_out: Data | None
    config: TuneConfig
    estimate: Estimate
    hardware: Hardware


def plan_tune(
    data: str,
    name: str,
    workspace: Workspace,
    *,
    base: str,
    held_out: str | None = None,
    columns: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> TunePlan:
    """Check `data` (a file, or a dataset's name) and estimate the tuning of `base` on it.

    Held-out rows come from `held_out`, else from a file found beside `data`, else from `data` itself
    (the last adapter is then kept). Raises `ConfigError` if `base` cannot be tuned by the method,
    `DataError` if the data has errors. Nothing is registered yet but a base used for the first time.
    """
    check_name(name)
    config = TuneConfig.checked(dict(overrides or {}))
    model = base_model(base, workspace)
    check_method(config, model)
    tokenizer = ChatTokenizer.load(model.folder)

    def read(source: str, named: Mapping[str, str] | None = None) -> Data:
        return _read(source, workspace, tokenizer, config.max_tokens, named)

    rows = read(data, columns)
    beside = find_held_out(Path(data)) if Path(data).is_file() else None
    chosen = held_out or (str(beside) if beside else None)
    validation = read(chosen) if chosen else None
    if validation is None and "keep" not in (overrides or {}):
        config = config.model_copy(update={"keep": "last"})
    hardware = probe(workspace.home)
    cost = estimate_rows(model, tokenizer, rows.rows, config, hardware, workspace)
    return TunePlan(name, model, rows, validation, config, cost, hardware)


def _read(
    source: str,
    workspace: Workspace,
    tokenizer: ChatTokenizer,
    max_tokens: int,
    columns: Mapping[str, str] | None,
) -> Data:
    path = Path(source).expanduser()
    if not path.exists() and "/" not in source and not path.suffix:
        dataset = ArtifactStore(workspace).get(source, KIND)
        return Data(dataset, load_dataset(dataset.folder).rows, dataset.reference)
    checked = check_file(path, columns=columns, tokenizer=tokenizer, max_tokens=max_tokens)
    checked.raise_for_errors()
    return Data(checked, checked.rows, path.name)


def start_tune(plan: TunePlan, workspace: Workspace) -> Job:
    """Register the data and start the job."""
    store = ArtifactStore(workspace)
    held_out = plan.held_out and plan.held_out.registered(store, f"{plan.name}-held-out")
    options = TuneOptions(
        base=plan.base.reference,
        dataset=plan.data.registered(store, plan.name),
        held_out=held_out,
        operations=plan.estimate.operations,
        tune=plan.config,
    )
    spec = JobSpec(kind="tune", name=plan.name, options=options.model_dump(mode="json"))
    return Supervisor(workspace).start(spec)
