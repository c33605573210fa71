"""Pretraining from end to end on a tiny corpus: it learns, it resumes exactly, it survives a kill."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kajiya.core.errors import ConfigError, ConflictError
from kajiya.corpus.build import Corpus
from kajiya.training.pretrain import LOG_FILE, pretrain
from kajiya.training.pretrain_config import PretrainConfig
from kajiya.training.pretrain_loop import PretrainOutcome
from kajiya.training.training_log import TrainingLog
from support.corpora import make_corpus, make_model
from support.tuning import Recorder

CONFIG = PretrainConfig(
    tokens=16 * 32 * 12, context=16, batch_rows=32, evaluations=2, checkpoint_every=4
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module", params=["llama", "rwkv7"])
def model(request: Any, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / request.param
    return make_model(request.param, corpus.folder.parent, folder)


def train(
    model: Path,
    corpus: Corpus,
    work: Path,
    config: PretrainConfig = CONFIG,
    stop_after: int | None = None,
) -> tuple[PretrainOutcome, Recorder]:
    recorder = Recorder(stop_after)
    outcome = pretrain(model, "m:1", corpus, config, work / "checkpoints", work / "out", recorder)
    return outcome, recorder


def test_it_learns_and_leaves_a_model_folder(model: Path, corpus: Corpus, tmp_path: Path) -> None:
    outcome, recorder = train(model, corpus, tmp_path)
    assert (outcome.steps, outcome.tokens) == (12, 12 * 16 * 32)
    bits = recorder.series("held_out_bits_per_byte")
    assert sorted(bits) == [0, 6, 12]
    assert bits[12] < bits[0] * 0.8
    assert outcome.bits_per_byte == bits[12]
    loss = recorder.series("loss")
    assert loss[12] < loss[1]
    weights = load_file(tmp_path / "out/model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert (tmp_path / "out/tokenizer.json").is_file()
    log = TrainingLog(tmp_path / "out" / LOG_FILE).read()
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 13))
    samples = [line["samples"] for line in log if "samples" in line]
    assert len(samples) == 3
    assert all(isinstance(text, str) and text for text in samples[-1])


def test_bits_per_byte_are_those_of_the_whole_held_out_text(
    model: Path, corpus: Corpus, tmp_path: Path
) -> None:
    """With a row as long as the text, they follow from the model's own logits over each document."""
    config = CONFIG.model_copy(
        update={"context": 512, "batch_rows": 1, "tokens": 1, "precision": "fp32"}
    )
    _, recorder = train(model, corpus, tmp_path, config)
    fresh = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    shard, nats = corpus.shards, 0.0
    for index in corpus.held_out:
        ids = torch.tensor(shard[index].astype(int))
        # Each document ends where the next begins, with a 0; after the last nothing is predicted.
        targets = ids[1:] if index == corpus.held_out[-1] else torch.cat([ids[1:], ids[:1]])
        with torch.no_grad():
            log_p = fresh(input_ids=ids[None]).logits.log_softmax(-1)[0]
        nats -= log_p[: len(targets)].gather(1, targets[:, None]).sum().item()
    expected = nats / torch.log(torch.tensor(2.0)).item() / corpus.held_out_size
    assert recorder.series("held_out_bits_per_byte")[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("precision", "accumulation"), [("bf16", 2), ("fp32", 1)])
def test_stopping_and_resuming_changes_nothing(
    model: Path, corpus: Corpus, tmp_path: Path, precision: str, accumulation: int
) -> None:
    config = CONFIG.model_copy(update={"precision": precision, "accumulation": accumulation})
    train(model, corpus, tmp_path / "whole", config)
    outcome, _ = train(model, corpus, tmp_path / "parts", config, stop_after=5)
    assert outcome.stopped
    assert outcome.steps == 5
    outcome, recorder = train(model, corpus, tmp_path / "parts", config)
    assert outcome.steps == 12
    assert "resumed at step 5" in recorder.logs[0]
    assert_same(tmp_path / "whole", tmp_path / "parts")


def assert_same(one: Path, other: Path) -> None:
    """Weights bit for bit, and the same history but for the seconds."""
    first, second = (load_file(path / "out/model.safetensors") for path in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = [TrainingLog(path / "out" / LOG_FILE).read() for path in (one, other)]
    timing = ("seconds", "tokens_per_second")
    told = [[{k: v for k, v in line.items() if k not in timing} for line in log] for log in logs]
    assert told[0] == told[1]


_CHILD = """
import sys
from pathlib import Path
import torch
from kajiya.corpus.build import Corpus
from kajiya.training.pretrain import pretrain
from kajiya.training.pretrain_config import PretrainConfig

model, corpus, config, work = map(Path, sys.argv[1:])

class Reporter:
    def progress(self, *_, **__): ...
    def metric(self, *_, **__): ...
    def log(self, message): ...
    def should_stop(self): return False

torch.set_num_threads(1)
pretrain(model, "m:1", Corpus.open(corpus), PretrainConfig.load(config), work / "checkpoints", work / "out", Reporter())
"""


def test_after_kill_9_it_goes_on_bit_for_bit(corpus: Corpus, tmp_path: Path) -> None:
    model = make_model("rwkv7", corpus.folder.parent, tmp_path / "model")
    config = CONFIG.model_copy(update={"tokens": 16 * 4 * 40, "batch_rows": 4})
    config.save(tmp_path / "config.yaml")
    arguments = [model, corpus.folder, tmp_path / "config.yaml", tmp_path / "killed"]
    command = [sys.executable, "-c", _CHILD, *map(str, arguments)]
    first = tmp_path / "killed/checkpoints/step-4/complete.json"
    process = subprocess.Popen(command)
    while not first.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/out").exists()
    subprocess.run(command, check=True)
    train(model, corpus, tmp_path / "whole", config)
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_checkpoints_of_another_run_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    model = make_model("llama", corpus.folder.parent, tmp_path / "model")
    train(model, corpus, tmp_path, stop_after=4)
    with pytest.raises(ConflictError):
        train(model, corpus, tmp_path, CONFIG.model_copy(update={"learning_rate": 0.1}))


def test_a_model_with_too_small_a_vocabulary(corpus: Corpus, tmp_path: Path) -> None:
    model = make_model("llama", corpus.folder.parent, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    assert config["vocab_size"] >= corpus.vocab_size
    larger = dataclasses.replace(corpus, vocab_size=config["vocab_size"] + 1)
    with pytest.raises(ConfigError, match="kinds of tokens"):
        train(model, larger, tmp_path)


def test_a_torn_log_line_is_dropped(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.jsonl")
    for step in range(4):
        log.append({"step": step})
    with log.path.open("a") as file:
        file.write('{"step": 4, "lo')
    log.rewind(2)
    log.append({"step": 3})
    assert [line["step"] for line in log.read()] == [0, 1, 2, 3]
