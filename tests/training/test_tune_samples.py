"""Answers during training: asked at every evaluation, right, and without a trace in the result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kajiya.data.rows import Row
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from kajiya.training.adapters.kinds import load_adapter
from kajiya.training.config import TuneConfig
from kajiya.training.tune import load_base, tune
from support.recurrent import make_rwkv_folder
from support.tiny_models import make_folder
from support.tuning import Recorder

ROWS = [
    Row(str(n), (Message("user", f"room {'1' * (n + 1)}?"), Message("assistant", f"floor {n}")))
    for n in range(6)
]
QUESTIONS = ROWS[1:4]  # of different lengths, so that the batch is padded
KINDS = [("llama", "lora"), ("gemma3", "lora"), ("rwkv7", "lora+state"), ("rwkv7", "state")]


def make_base(folder: Path, family: str) -> Path:
    make = make_rwkv_folder if family == "rwkv7" else make_folder
    return make(folder) if family == "rwkv7" else make(folder, family)  # type: ignore[call-arg]


@pytest.mark.parametrize(("family", "method"), KINDS)
def test_asking_changes_nothing_and_shows_what_is_learnt(
    tmp_path: Path, family: str, method: str
) -> None:
    base = make_base(tmp_path / "base", family)
    config = TuneConfig.checked(
        {
            "method": method,
            "rank": 4,
            "epochs": 4,
            "batch_tokens": 128,
            "dropout": 0.1 if method == "lora" else 0,
            "evaluations": 3,
            "keep": "last",
        }
    )
    recorder, quiet = Recorder(), Recorder()
    outcomes = []
    for name, questions, reporter in (("with", QUESTIONS, recorder), ("without", (), quiet)):
        folder = tmp_path / name
        outcomes.append(
            tune(
                base,
                "tiny:1",
                ROWS,
                ROWS[:2],
                config,
                folder / "steps",
                folder / "adapter",
                reporter,
                questions,
            )
        )
    files = sorted((tmp_path / "with" / "adapter").glob("*.safetensors"))
    assert files
    for file in files:
        asked, unasked = load_file(file), load_file(tmp_path / "without" / "adapter" / file.name)
        assert asked.keys() == unasked.keys()
        assert all(torch.equal(asked[name], unasked[name]) for name in asked)
    assert recorder.series("loss") == quiet.series("loss")
    assert quiet.samples == []
    steps = sorted({step for step, *_ in recorder.samples})
    assert (len(steps), steps[0], steps[-1]) == (4, 0, outcomes[0].total_steps)
    wanted = [(row.messages[0].content, row.messages[1].content) for row in QUESTIONS]
    for step in steps:
        assert [(q, e) for s, q, _, e in recorder.samples if s == step] == wanted


def test_the_last_answers_are_those_of_the_saved_adapter(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama")
    values = {"rank": 4, "epochs": 8, "batch_tokens": 64, "keep": "last", "precision": "fp32"}
    config = TuneConfig.checked({**values, "learning_rate": 5e-3})
    recorder = Recorder()
    target = tmp_path / "adapter"
    outcome = tune(base, "tiny:1", ROWS, [], config, tmp_path / "s", target, recorder, QUESTIONS)
    told = [answer for step, _, answer, _ in recorder.samples if step == outcome.total_steps]
    # One after another, each token from the whole text before it: no cache, no padding, no kernels.
    model = load_adapter(load_base(base, config), target, base)
    tokenizer = ChatTokenizer.load(base)
    for row, answer in zip(QUESTIONS, told, strict=True):
        ids = tokenizer.encode_chat(row.messages[:-1])
        start = len(ids)
        for _ in range(40):
            with torch.no_grad():
                logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits.argmax()))
            if ids[-1] in tokenizer.stop_ids:
                break
        assert answer == tokenizer.decode(ids[start:]).strip()


def test_finishing_early_keeps_what_was_learnt(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama")
    config = TuneConfig.checked({"rank": 4, "epochs": 6, "batch_tokens": 64})
    recorder = Recorder(finish_after=3)
    target = tmp_path / "adapter"
    outcome = tune(base, "t:1", ROWS, ROWS[:2], config, tmp_path / "s", target, recorder, QUESTIONS)
    assert (outcome.steps, outcome.stopped) == (3, False)
    assert outcome.total_steps > 3
    assert outcome.held_out_loss == recorder.series("held_out_loss")[3]
    assert {step for step, *_ in recorder.samples} == {0, 3}
    assert (target / "adapter_model.safetensors").is_file()
