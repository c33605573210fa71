"""The Easy Trainer's own service: a training as somebody chose it on a page, and its start.

Everything is a choice among things that exist: an upload or a dataset, a base, a method. Never imports
torch.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError, DataError
from kajiya.core.files import check_name
from kajiya.core.hardware import GIB, Hardware
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.data.dataset import KIND, REPORT_FILE, ROWS_FILE
from kajiya.forge.cost import Cost, CostSettings, cost
from kajiya.forge.inspection import Inspection, Reading, Source, inspect, known, rows_folder
from kajiya.forge.offers import Offer, estimate_base, offers, own_memory, shape_of
from kajiya.forge.options import ForgeOptions
from kajiya.forge.plan import base_model, check_comparable, check_method, start_forge
from kajiya.jobs.job import Job
from kajiya.store.artifacts import ArtifactStore
from kajiya.training.config import TuneConfig
from kajiya.training.estimate import Estimate, Sizes

SAMPLES = 3  # questions asked while it trains


class Choice(Config):
    """What was chosen so far. `data` and `held_out` are `upload:ID` or `dataset:NAME:VERSION`, or empty."""

    name: str = option("", en="Name", ja="名前")
    data: str = option("", en="Data", ja="データ")
    held_out: str = option("", en="Held-out data", ja="検証データ")
    columns: dict[str, str] = option(dict, en="Columns", ja="列の対応")
    base: str = option("", en="Model", ja="モデル")
    memory: float = option(
        0.0, en="Memory, GB", ja="メモリ (GB)", ge=0, help=("0: all", "0 なら全部")
    )
    evaluate_rows: int = option(
        ForgeOptions.model_fields["evaluate_rows"].default,
        en="Questions to ask",
        ja="評価する質問の数",
        ge=0,
        le=100_000,
        help=("Of each set, before and after", "学習の前後で、各組から最大この数を尋ねる"),
    )
    tune: TuneConfig = option(TuneConfig, en="Tuning", ja="学習の設定")

    def reading(self, base: str | None = None) -> Reading:
        """How its data is to be read."""
        chosen = self.base if base is None else base
        return Reading(columns=self.columns, base=chosen, max_tokens=self.tune.max_tokens)


@dataclass(frozen=True)
class Outlook:
    """What starting a choice would mean. `estimate` and `cost` are None until a base is chosen."""

    offers: tuple[Offer, ...]
    base: Offer | None
    estimate: Estimate | None
    cost: Cost | None


def parse_source(reference: str) -> tuple[Source, str]:
    """`upload:ID` or `dataset:NAME:VERSION`; raises `ConfigError` for anything else."""
    kind, _, rest = reference.partition(":")
    if kind not in ("upload", "dataset") or not rest:
        raise ConfigError(
            tr("this names no data", "データの指定が正しくありません"),
            where="data",
            fix=tr(
                "drop a file, or choose a dataset", "ファイルを置くか、データセットを選んでください"
            ),
        )
    return ("upload" if kind == "upload" else "dataset"), rest


def look(choice: Choice, workspace: Workspace, *, with_tokens: bool) -> Inspection:
    """Check the chosen data, as the chosen base reads it or (at once) without counting tokens."""
    source, reference = parse_source(choice.data)
    return inspect(workspace, source, reference, choice.reading(None if with_tokens else ""))


def outlook(choice: Choice, workspace: Workspace, hardware: Hardware) -> Outlook:
    """What fits and what it will cost, from what is known of the data by now."""
    sizes = _known_sizes(choice, workspace)
    room = round(choice.memory * GIB) or own_memory(hardware)
    found = offers(workspace, choice.tune, hardware, min(room, own_memory(hardware)), sizes)
    base = next((offer for offer in found if offer.is_named(choice.base)), None)
    shape = shape_of(base.reference, workspace) if base and not base.obstacle else None
    if shape is None or sizes is None:
        return Outlook(found, base, None, None)
    needs = estimate_base(shape, sizes, choice.tune, hardware, workspace.cache)
    price = cost(needs.seconds, needs.operations, hardware, CostSettings.of(workspace))
    return Outlook(found, base, needs, price)


def _known_sizes(choice: Choice, workspace: Workspace) -> Sizes | None:
    if not choice.data or not choice.base:
        return None
    source, reference = parse_source(choice.data)
    found = known(workspace, source, reference, choice.reading())
    return found.sizes if found else None


def start_choice(choice: Choice, workspace: Workspace, hardware: Hardware) -> Job:
    """Register the data, if it is an upload, and start the training.

    Raises `ConfigError` for a name or a method that cannot be, `DataError` for data with errors,
    `ResourceError` if the machine is too small.
    """
    check_name(choice.name)
    if not choice.base:
        raise ConfigError(
            tr("no model was chosen", "モデルが選ばれていません"),
            where="base",
            fix=tr("choose one in step 3", "手順 3 で選んでください"),
        )
    checked = look(choice, workspace, with_tokens=True)  # where the base is made sure of
    _raise_unless_usable(checked)
    assert checked.sizes is not None  # a base was named
    base = base_model(choice.base, workspace)
    check_comparable(choice.tune, base)
    check_method(choice.tune, base)
    shape = shape_of(base.reference, workspace)
    assert shape is not None  # or the base had not come through the checks above
    needs = estimate_base(shape, checked.sizes, choice.tune, hardware, workspace.cache)
    needs.check(hardware)
    tune = choice.tune
    if not choice.held_out:
        tune = tune.model_copy(update={"keep": "last"})
    options = ForgeOptions(
        base=base.reference,
        dataset=registered(choice, workspace, choice.data, choice.name),
        held_out=registered(choice, workspace, choice.held_out, f"{choice.name}-held-out")
        if choice.held_out
        else None,
        evaluate_rows=choice.evaluate_rows,
        samples=SAMPLES,
        operations=needs.operations,
        tune=tune,
    )
    return start_forge(choice.name, options, workspace)


def registered(choice: Choice, workspace: Workspace, data: str, name: str) -> str:
    """The reference of the dataset that `data` names; an upload becomes the next version of `name`.

    Raises `DataError` if the file has errors.
    """
    source, reference = parse_source(data)
    if source == "dataset":
        return ArtifactStore(workspace).get(reference, KIND).reference
    # Held-out data has columns of its own, that were not mapped by hand.
    own = choice.model_copy(update={"columns": {}}) if data == choice.held_out else choice
    reading = own.reading()
    found = inspect(workspace, source, reference, reading)
    _raise_unless_usable(found)
    return register_upload(workspace, reference, reading, found, name)


def register_upload(
    workspace: Workspace, upload_id: str, reading: Reading, found: Inspection, name: str
) -> str:
    """Keep an inspected upload as the next version of the dataset `name`; returns its reference."""
    rows = rows_folder(workspace, "upload", upload_id, reading)
    config = {"source": found.name, "format": found.format, "columns": found.columns}
    with ArtifactStore(workspace).draft(KIND, check_name(name), config=config) as draft:
        for file in (rows / ROWS_FILE, rows / REPORT_FILE):
            shutil.copyfile(file, draft.folder / file.name)
        draft.details["rows"] = found.statistics["kept"]
        draft.details["statistics"] = found.statistics
    return draft.artifact.reference


def _raise_unless_usable(found: Inspection) -> None:
    if found.problem is not None:
        told = found.problem
        raise DataError(told.message, where=told.where, fix=told.fix)
    first = next((finding for finding in found.findings if finding.level == "error"), None)
    if first is not None:
        raise DataError(
            first.message,
            where=tr(f"{found.name}, row {first.row}", f"{found.name} の {first.row} 行目"),
            fix=tr("mend the row and upload the file again", "直してからもう一度置いてください"),
        )
