"""Sharing a batch out among threads changes neither the gradients nor their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kajiya.training.adapters.lora import add_lora
from kajiya.training.checkpoint import Checkpoints
from kajiya.training.config import TuneConfig
from kajiya.training.loop import Loop
from kajiya.training.workers import Workers
from support.tiny_models import tiny_torch_model
from support.tuning import VOCABULARY, Recorder, examples

CPU = torch.device("cpu")


@pytest.fixture
def cores() -> Iterator[int]:
    """As many threads as tests of sharing need, whatever this machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


def test_the_cores_are_divided_and_given_back(cores: int) -> None:
    workers = Workers(CPU)
    assert workers.count == cores
    assert workers.map(lambda _: torch.get_num_threads(), [0, 1]) == [2, 2]
    assert workers.map(lambda _: torch.get_num_threads(), range(4)) == [1, 1, 1, 1]
    assert workers.map(lambda _: torch.get_num_threads(), [0]) == [cores]
    assert torch.get_num_threads() == cores


@pytest.mark.usefixtures("cores")
def test_results_come_in_the_order_of_the_parts() -> None:
    gate = threading.Event()

    def slow_first(part: int) -> int:
        if part == 0:
            gate.wait(10)
        else:
            gate.set()
        return part

    assert Workers(CPU).map(slow_first, [0, 1]) == [0, 1]


@pytest.mark.usefixtures("cores")
def test_an_error_in_a_worker_is_raised() -> None:
    def fail(part: int) -> int:
        raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match="part 0"):
        Workers(CPU).map(fail, [0, 1])
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.usefixtures("cores")
def test_shared_batches_train_as_whole_ones(tmp_path: Path, packing: bool) -> None:
    def train(name: str, workers: int) -> tuple[dict[int, float], list[torch.Tensor]]:
        recorder = Recorder()
        config = TuneConfig(rank=4, epochs=2, batch_tokens=96, precision="fp32", packing=packing)
        torch.manual_seed(0)
        model = add_lora(tiny_torch_model("llama", VOCABULARY), config)
        rows = examples(12, 18, 24, 15, 20, 11, 17, 23)
        folder = Checkpoints(tmp_path / name, "")
        loop = Loop(model, rows, rows[:3], config, folder, recorder, pad_id=0)
        loop.workers = Workers(CPU, workers)
        loop.run()
        return recorder.series("loss"), [p.detach().clone() for p in loop.trained]

    losses, parameters = train("alone", 1)
    shared, shared_parameters = train("shared", 3)
    again, again_parameters = train("again", 3)
    assert shared == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(shared_parameters, parameters, rtol=1e-3, atol=1e-5)
    assert shared == again
    assert all(map(torch.equal, shared_parameters, again_parameters))
