"""Everything before the start: read and check the data, find the base, estimate, then hand it over.

Nothing here imports torch; the work itself is a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kajiya.core.errors import ConfigError
from kajiya.core.files import check_name
from kajiya.core.hardware import Hardware, probe
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.data.check import CheckedData, check_file
from kajiya.data.dataset import register_dataset
from kajiya.data.rows import Row
from kajiya.forge.options import ForgeOptions
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
from kajiya.models.resolve import base_of, resolve
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.training.config import TuneConfig
from kajiya.training.estimate import Estimate, Shape, Sizes, estimate

DEFAULT_BASE = "starter:gemma-3-270m"
_HELD_OUT_NAMES = ("paraphrases.csv", "held-out.csv", "held_out.csv")


@dataclass(frozen=True)
class Plan:
    """A tuning that could start now."""

    name: str
    base: Artifact
    data: CheckedData
    held_out: CheckedData | None
    config: TuneConfig
    estimate: Estimate
    hardware: Hardware
    evaluate_rows: int


def find_held_out(data: Path) -> Path | None:
    """A file beside `data` that holds held-out questions, by its usual names."""
    for name in _HELD_OUT_NAMES:
        path = data.parent / name
        if path.is_file() and path != data:
            return path
    return None


def base_model(reference: str, workspace: Workspace) -> Artifact:
    """The model that `reference` names; raises `ConfigError` for an adapter, naming its base."""
    model = resolve(reference, workspace)
    if model.kind == "model":
        return model
    raise ConfigError(
        tr(
            f"{reference} is an adapter, not a base model",
            f"{reference} はアダプタで、基のモデルではありません",
        ),
        where="--base",
        fix=tr(
            f"tune its base: {base_of(model, workspace).reference}",
            f"基のモデル {base_of(model, workspace).reference} を指定してください",
        ),
    )


def check_method(config: TuneConfig, base: Artifact) -> None:
    """Raise `ConfigError` if `config` wants to learn an initial state and `base` has none."""
    if config.tunes_state and not Shape.read(base.folder).state:
        raise ConfigError(
            tr(
                f"{base.reference} has no state to tune: it is not a recurrent model",
                f"{base.reference} は RWKV ではないため、初期状態がありません",
            ),
            where="--method",
            fix=tr(
                "choose --method lora, or an RWKV model",
                "--method lora にするか、RWKV のモデルを選んでください",
            ),
        )


def check_comparable(config: TuneConfig, base: Artifact) -> None:
    """Raise `ConfigError` if no engine here can be asked what `config` makes of `base`."""
    if config.tunes_lora and base.manifest.config.get("model_type") == "rwkv6":
        raise ConfigError(
            tr(
                "this job compares answers, and no engine here runs a LoRA on RWKV-6",
                "このジョブは答えを比べますが、RWKV-6 の LoRA を動かせるエンジンがありません",
            ),
            where="--base",
            fix=f"kajiya train tune --base {base.reference}",
        )


def estimate_rows(
    base: Artifact,
    tokenizer: ChatTokenizer,
    rows: Sequence[Row],
    config: TuneConfig,
    hardware: Hardware,
    workspace: Workspace,
) -> Estimate:
    """What tuning `base` on `rows` will need."""
    sizes = [tokenizer.encode_training(row.messages) for row in rows]
    lengths, labels = [len(ids) for ids, _ in sizes], [sum(trained) for _, trained in sizes]
    return estimate(
        Shape.read(base.folder),
        Sizes.of(lengths, labels, config.max_tokens),
        config,
        hardware,
        workspace.cache,
    )


def make_plan(
    data: Path,
    name: str,
    workspace: Workspace,
    *,
    base: str = DEFAULT_BASE,
    held_out: Path | None = None,
    columns: Mapping[str, str] | None = None,
    limit_bytes: int | None = None,
    evaluate_rows: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Check `data` (and `held_out`, or a file found beside it) and estimate the tuning of `base` on it.

    Without a held-out file a small part of the rows is held out, and the last adapter is kept rather
    than the best on rows it was never told. Raises `DataError` if the data has errors; nothing is
    registered yet, except the base if this is its first use.
    """
    check_name(name)
    config = TuneConfig.checked(dict(overrides or {}))
    model = base_model(base, workspace)
    check_comparable(config, model)
    check_method(config, model)
    tokenizer = ChatTokenizer.load(model.folder)
    limits: dict[str, Any] = {} if limit_bytes is None else {"limit_bytes": limit_bytes}
    options = {"tokenizer": tokenizer, "max_tokens": config.max_tokens, **limits}
    checked = check_file(data, columns=columns, **options)
    path = held_out or find_held_out(data)
    validation = check_file(path, **options) if path else None
    for part in (checked, validation):
        if part is not None:
            part.raise_for_errors()
    if validation is None and "keep" not in (overrides or {}):
        config = config.model_copy(update={"keep": "last"})
    hardware = probe(workspace.home)
    cost = estimate_rows(model, tokenizer, checked.rows, config, hardware, workspace)
    rows = (
        ForgeOptions.model_fields["evaluate_rows"].default
        if evaluate_rows is None
        else evaluate_rows
    )
    return Plan(name, model, checked, validation, config, cost, hardware, rows)


def start(plan: Plan, workspace: Workspace) -> Job:
    """Register the data and start the job."""
    store = ArtifactStore(workspace)
    dataset = register_dataset(store, plan.data, plan.name, plan.data.name)
    held_out = None
    if plan.held_out is not None:
        held_out = register_dataset(
            store, plan.held_out, f"{plan.name}-held-out", plan.held_out.name
        )
    options = ForgeOptions(
        base=plan.base.reference,
        dataset=dataset.reference,
        held_out=held_out.reference if held_out else None,
        evaluate_rows=plan.evaluate_rows,
        operations=plan.estimate.operations,
        tune=plan.config,
    )
    return start_forge(plan.name, options, workspace)


def start_forge(name: str, options: ForgeOptions, workspace: Workspace) -> Job:
    """Start a job on data that is registered already; its result will be called `name`."""
    spec = JobSpec(kind="forge", name=name, options=options.model_dump(mode="json"))
    return Supervisor(workspace).start(spec)
