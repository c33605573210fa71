"""The loop learns, adds gradients up rightly, keeps the best, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kajiya.core.errors import ConflictError, JobError
from kajiya.training.adapters.lora import add_lora
from kajiya.training.batches import Example
from kajiya.training.checkpoint import Checkpoints
from kajiya.training.config import TuneConfig
from kajiya.training.kernels.install import use_fast_kernels
from kajiya.training.loop import Loop
from support.tiny_models import tiny_torch_model
from support.tuning import VOCABULARY, Recorder, examples

ROWS = examples(12, 18, 24, 15, 20, 11, 17, 23)
HELD_OUT = examples(14, 19, seed=5)


def make(
    folder: Path,
    recorder: Recorder,
    rows: list[Example] = ROWS,
    held_out: list[Example] = HELD_OUT,
    fingerprint: str = "same",
    **options: Any,
) -> Loop:
    values = {"rank": 4, "epochs": 3, "batch_tokens": 64, "precision": "fp32", **options}
    config = TuneConfig.checked(values)
    torch.manual_seed(config.seed)
    model = add_lora(tiny_torch_model("llama", VOCABULARY), config)
    use_fast_kernels(model, longest=64)
    model.train()
    checkpoints = Checkpoints(folder, fingerprint)
    return Loop(model, rows, held_out, config, checkpoints, recorder, pad_id=0, template_tokens=2)


def parameters(loop: Loop) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in loop.model.named_parameters() if p.requires_grad}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_loss_goes_down(tmp_path: Path) -> None:
    recorder = Recorder()
    outcome = make(tmp_path, recorder, epochs=40, learning_rate=1e-2, question_dropout=0).run()
    losses = recorder.series("loss")
    assert losses[outcome.total_steps] < losses[1] / 5
    assert outcome.steps == outcome.total_steps == len(losses)
    assert not outcome.stopped
    assert outcome.tokens == 40 * sum(map(len, ROWS))
    assert outcome.train_loss == losses[outcome.total_steps]


def test_questions_are_thinned_out_in_all_epochs_but_the_last(tmp_path: Path) -> None:
    whole = sum(map(len, ROWS))
    one, two, three = (
        make(tmp_path / f"{epochs}", Recorder(), epochs=epochs, question_dropout=0.9).run().tokens
        for epochs in (1, 2, 3)
    )
    assert one == whole
    assert one < two < 2 * whole
    assert two < three < two + whole


@pytest.mark.parametrize("packing", [False, True])
def test_accumulated_batches_are_one_large_batch(tmp_path: Path, packing: bool) -> None:
    rows = [  # as long as each other, with other numbers of labels: means of means would be wrong
        Example(row.ids, tuple(i >= 16 - 3 * n for i in range(16)))
        for n, row in enumerate(examples(16, 16, 16, 16), start=1)
    ]
    norms, losses = [], []
    for name, options in (
        ("whole", {"batch_tokens": 64}),
        ("parts", {"batch_tokens": 16, "accumulation": 4}),
    ):
        recorder = Recorder()
        options |= {"epochs": 1, "question_dropout": 0, "packing": packing}
        outcome = make(tmp_path / name, recorder, rows, [], **options).run()
        assert outcome.total_steps == 1
        norms.append(recorder.series("gradient_norm")[1])
        losses.append(recorder.series("loss")[1])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.2, "checkpoint_every": 100},
        {"packing": True, "accumulation": 2, "checkpoint_every": 2, "schedule": "wsd"},
    ],
    ids=["dropout", "packing"],
)
def test_a_run_stopped_at_any_step_ends_as_if_it_had_not_been(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = make(tmp_path / "whole", Recorder(), **options)
    expected = whole.run()
    assert expected.total_steps >= 4
    for step in range(1, expected.total_steps):
        folder = tmp_path / f"stopped-{step}"
        stopped = make(folder, Recorder(stop_after=step), **options).run()
        assert (stopped.stopped, stopped.steps) == (True, step)
        resumed, recorder = make(folder, Recorder(), **options), Recorder()
        resumed.reporter = recorder
        torch.manual_seed(999)  # whatever the new process has drawn
        outcome = resumed.run()
        assert min(s for s, _ in recorder.metrics) == step + 1
        assert recorder.logs == [f"resumed at step {step} of {expected.total_steps}"]
        assert (outcome.kept_step, outcome.held_out_loss, outcome.train_loss) == (
            expected.kept_step,
            expected.held_out_loss,
            expected.train_loss,
        )
        assert_equal(parameters(resumed), parameters(whole))


def test_stopping_at_every_step_changes_nothing_either(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", Recorder())
    total = whole.run().total_steps
    for step in range(1, total):
        make(tmp_path / "halting", Recorder(stop_after=step)).run()
    last = make(tmp_path / "halting", Recorder())
    assert last.run().steps == total
    assert_equal(parameters(last), parameters(whole))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = make(tmp_path, Recorder())
    first.run()
    recorder = Recorder()
    again = make(tmp_path, recorder)
    assert again.run().steps == first.total
    assert recorder.metrics == []
    assert_equal(parameters(again), parameters(first))


def test_the_best_is_kept_and_the_last_if_asked(tmp_path: Path) -> None:
    # With random labels to learn by heart, held-out rows get worse: the best is early.
    options = {"epochs": 24, "evaluations": 6, "learning_rate": 1e-2, "question_dropout": 0}
    recorder = Recorder()
    loop = make(tmp_path / "best", recorder, **options)
    outcome = loop.run()
    measured = recorder.series("held_out_loss")
    assert len(measured) == 6
    assert outcome.held_out_loss == min(measured.values())
    assert measured[outcome.kept_step] == min(measured.values())
    assert outcome.kept_step < outcome.total_steps
    ended = make(tmp_path / "last", Recorder(), keep="last", **options)
    last = ended.run()
    assert (last.kept_step, last.held_out_loss) == (
        outcome.total_steps,
        measured[outcome.total_steps],
    )
    shorter = make(tmp_path / "short", Recorder(stop_after=outcome.kept_step), **options)
    shorter.run()
    assert_equal(parameters(loop), parameters(shorter))
    with pytest.raises(AssertionError):
        assert_equal(parameters(loop), parameters(ended))


def test_without_held_out_rows_the_last_is_kept(tmp_path: Path) -> None:
    outcome = make(tmp_path, Recorder(), held_out=[]).run()
    assert (outcome.held_out_loss, outcome.kept_step) == (None, outcome.total_steps)


def test_a_loss_that_is_no_number_ends_the_job(tmp_path: Path) -> None:
    loop = make(tmp_path, Recorder())
    with torch.no_grad():
        next(p for p in loop.trained).fill_(float("nan"))
    with pytest.raises(JobError, match="loss became nan") as caught:
        loop.run()
    assert caught.value.where == "step 1"
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    make(tmp_path, Recorder(stop_after=2)).run()
    with pytest.raises(ConflictError):
        make(tmp_path, Recorder(), fingerprint="other").run()
