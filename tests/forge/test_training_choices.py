"""What the Easy Trainer is told by its services: what fits, what it costs, what a file holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kajiya.core.errors import ConfigError, DataError, KajiyaError, NotFoundError
from kajiya.core.hardware import GIB, Gpu, Hardware
from kajiya.core.language import use
from kajiya.core.workspace import Workspace
from kajiya.data.dataset import load_dataset
from kajiya.data.uploads import Uploads
from kajiya.forge.cost import CostSettings, cost
from kajiya.forge.inspection import Reading, inspect, known
from kajiya.forge.offers import offers, own_memory, rooms
from kajiya.forge.trainer import Choice, outlook, registered, start_choice
from kajiya.jobs.supervisor import Supervisor
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.training.config import TuneConfig

MACHINE = Hardware("test", 2, 32 * GIB, 14 * GIB, 100 * GIB, True, ())
LARGE = dataclasses.replace(MACHINE, gpus=(Gpu("test", 24 * GIB),))
CSV = (
    "質問,回答\n"
    + "".join(f"部屋{n}は?,{n % 4}階です。\n" for n in range(9))
    + "部屋1は?,1階です。\n"
)


def upload(workspace: Workspace, text: str, name: str = "部屋.csv") -> str:
    with Uploads(workspace).receive(name) as incoming:
        incoming.write(text.encode())
    return incoming.id


def test_what_the_machine_does_not_have_cannot_be_chosen() -> None:
    assert [(r.gigabytes, r.own, bool(r.obstacle)) for r in rooms(MACHINE)] == [
        (14, True, False),
        (12, False, False),
        (16, False, True),
        (24, False, True),
    ]
    assert own_memory(LARGE) == 24 * GIB
    assert not any(room.obstacle for room in rooms(LARGE))


def test_models_fit_or_say_why_not(workspace: Workspace) -> None:
    found = {o.title: o for o in offers(workspace, TuneConfig(), MACHINE, 12 * GIB)}
    assert {"tiny-base", "gemma-3-270m", "smollm2-135m", "rwkv7-aozora"} <= found.keys()
    tiny = found["tiny-base"]
    assert tiny.obstacle == "" and tiny.memory and tiny.is_named("tiny-base:1")
    assert found["gemma-3-270m"].parameters == pytest.approx(268e6, rel=0.01)
    assert found["smollm2-135m"].parameters == pytest.approx(135e6, rel=0.01)
    small = {o.title: o for o in offers(workspace, TuneConfig(), MACHINE, GIB)}
    assert "of 1.0 GB" in small["tiny-base"].obstacle and small["tiny-base"].fix
    states = TuneConfig.checked({"method": "state"})
    learning = {o.title: o for o in offers(workspace, states, MACHINE, 12 * GIB)}
    assert "no state" in learning["tiny-base"].obstacle
    order = [bool(o.obstacle) for o in offers(workspace, TuneConfig(), MACHINE, 12 * GIB)]
    assert order == sorted(order)


def test_costs_follow_from_their_assumptions(workspace: Workspace) -> None:
    an_hour_on_an_a100 = 6 * 6.7e9 * 1e12 / 82_432
    found = cost(3600, an_hour_on_an_a100, MACHINE, CostSettings())
    assert (found.watts, found.kwh, found.yen) == (100, pytest.approx(0.1), pytest.approx(3.1))
    assert found.cloud_seconds == pytest.approx(3600)
    assert found.cloud == pytest.approx(140_000 / 24 / 8) == pytest.approx(found.cloud_hour)
    assert cost(3600, 1, LARGE, CostSettings()).watts == 500
    assert CostSettings.of(workspace) == CostSettings()
    CostSettings(watts=50, yen_per_kwh=20).keep(workspace)
    again = cost(3600, 1, LARGE, CostSettings.of(workspace))
    assert (again.watts, again.yen) == (50, pytest.approx(1.0))


def test_a_file_is_looked_at_once_for_each_way_of_reading(workspace: Workspace) -> None:
    upload_id = upload(workspace, CSV)
    plain, counted = Reading(), Reading(base="tiny-base")
    assert known(workspace, "upload", upload_id, plain) is None
    found = inspect(workspace, "upload", upload_id, plain)
    assert known(workspace, "upload", upload_id, plain) == found
    assert (found.usable, found.count("warning"), found.sizes) == (True, 1, None)
    assert found.names == ("質問", "回答") and found.head[0] == ("部屋0は?", "0階です。")
    assert [turn.content for turn in found.preview[0].turns] == ["部屋0は?", "0階です。"]
    with use("ja"):
        assert known(workspace, "upload", upload_id, plain) is None  # findings are words
    read = inspect(workspace, "upload", upload_id, counted)
    assert read.sizes is not None and read.sizes.rows == 9
    tokenizer = ChatTokenizer.load(ArtifactStore(workspace).get("tiny-base", "model").folder)
    trained = [part.text for part in read.preview[0].stretches if part.trained]
    assert "".join(trained).startswith("0階です。")
    lengths = [len(tokenizer.encode_training(p.turns)[0]) for p in read.preview]
    assert read.sizes.longest >= max(lengths)
    # What was looked at is what is registered, and looks the same as a dataset.
    choice = Choice(data=f"upload:{upload_id}")
    reference = registered(choice, workspace, choice.data, "rooms")
    dataset = ArtifactStore(workspace).get(reference, "dataset")
    assert len(load_dataset(dataset.folder)) == 9
    assert dataset.manifest.config["source"] == "部屋.csv"
    kept = inspect(workspace, "dataset", reference, counted)
    assert kept.sizes == read.sizes and kept.preview == read.preview
    assert kept.findings == found.findings


def test_what_cannot_be_read_says_so_and_can_be_mapped(workspace: Workspace) -> None:
    upload_id = upload(workspace, "a,b\nx,y\n")
    found = inspect(workspace, "upload", upload_id, Reading())
    assert found.problem is not None and found.problem.code == "missing_columns"
    assert found.names == ("a", "b") and not found.usable
    with pytest.raises(DataError):
        registered(Choice(data=f"upload:{upload_id}"), workspace, f"upload:{upload_id}", "x")
    mapped = Reading(columns={"question": "a", "answer": "b"})
    assert inspect(workspace, "upload", upload_id, mapped).usable
    broken = inspect(workspace, "upload", upload(workspace, "%PDF-1.7"), Reading())
    assert broken.problem is not None and broken.problem.code == "pdf"


@pytest.mark.parametrize("base", ["/etc", "..", "hf:org/model", "./x", "~", "none", "starter:none"])
def test_only_models_that_are_here_can_be_named(workspace: Workspace, base: str) -> None:
    upload_id = upload(workspace, CSV)
    with pytest.raises((ConfigError, NotFoundError)):
        inspect(workspace, "upload", upload_id, Reading(base=base))
    choice = Choice(name="x", data=f"upload:{upload_id}", base=base)
    jobs = len(Supervisor(workspace).list())
    with pytest.raises(KajiyaError):
        start_choice(choice, workspace, MACHINE)
    assert len(Supervisor(workspace).list()) == jobs


def test_the_outlook_needs_data_and_a_base_that_fits(workspace: Workspace) -> None:
    once, twice = (TuneConfig(epochs=epochs, question_dropout=0) for epochs in (5, 10))
    choice = Choice(data=f"upload:{upload(workspace, CSV)}", base="tiny-base", tune=once)
    assert outlook(choice, workspace, MACHINE).estimate is None  # nobody has counted yet
    inspect(workspace, "upload", choice.data.removeprefix("upload:"), choice.reading())
    ahead = outlook(choice, workspace, MACHINE)
    assert ahead.base is not None and ahead.estimate is not None and ahead.cost is not None
    assert ahead.estimate.rows == 9 and ahead.cost.yen > 0
    more = outlook(choice.model_copy(update={"tune": twice}), workspace, MACHINE).estimate
    assert more is not None and more.seconds == pytest.approx(2 * ahead.estimate.seconds)


def test_a_starter_costs_what_its_configuration_says() -> None:
    import json
    import math

    from safetensors import safe_open

    from kajiya.models.starters import find_starter
    from kajiya.training.estimate import Shape

    folder = Path(__file__).resolve().parents[2] / "starters" / "kajiya-starter-rwkv7"
    config = next(folder.rglob("config.json"))
    shape = Shape.of(find_starter("rwkv7-aozora").shape)
    assert shape == Shape.of(json.loads(config.read_text()))
    with safe_open(config.parent / "model.safetensors", "numpy") as weights:
        real = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    assert shape.parameters == pytest.approx(real, rel=0.01)
