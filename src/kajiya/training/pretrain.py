"""Pretraining from end to end: a model's folder and a corpus in, the trained model's folder out."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch

from kajiya.core.errors import ConfigError
from kajiya.core.hardware import probe
from kajiya.core.language import tr
from kajiya.corpus.build import Corpus
from kajiya.models.architectures import register
from kajiya.models.converting import TOKENIZER_FILES
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.training.checkpoint import Checkpoints
from kajiya.training.loop import Reporter
from kajiya.training.pretrain_config import PretrainConfig
from kajiya.training.pretrain_loop import PretrainLoop, PretrainOutcome
from kajiya.training.pretrain_samples import Sampler
from kajiya.training.training_log import TrainingLog

LOG_FILE = "training_log.jsonl"
_PROMPTS, _PROMPT_TOKENS = 2, 16


def pretrain(
    model_folder: Path,
    model_reference: str,
    corpus: Corpus,
    config: PretrainConfig,
    checkpoints: Path,
    target: Path,
    reporter: Reporter,
) -> PretrainOutcome:
    """Train all weights of the model in `model_folder` and write it, in bf16, into the folder `target`.

    `training_log.jsonl` beside it holds the curve. Goes on from `checkpoints` if there is something.
    Asked to stop, it saves a checkpoint, writes the model as it is, and returns with `stopped`.
    Raises `ConfigError` if the model has fewer token embeddings than the corpus has tokens.
    """
    register()
    tokenizer = ChatTokenizer.load(model_folder)
    model = _load(model_folder)
    if corpus.vocab_size > model.config.vocab_size:
        raise ConfigError(
            tr(
                f"the corpus has {corpus.vocab_size} kinds of tokens, the model {model.config.vocab_size}",
                f"コーパスの語彙 {corpus.vocab_size} がモデルの語彙 {model.config.vocab_size} を超えています",
            ),
            where=model_reference,
        )
    fast = torch.cuda.is_available() or probe(model_folder).bf16
    bf16 = config.precision == "bf16" or (config.precision == "auto" and fast)
    log = TrainingLog(checkpoints / LOG_FILE)
    loop = PretrainLoop(
        model,
        corpus,
        config,
        torch.bfloat16 if bf16 else torch.float32,
        Checkpoints(checkpoints, _fingerprint(model_reference, corpus, config)),
        reporter,
        log,
        Sampler(_prompts(corpus), tokenizer),
    )
    outcome = loop.run()
    target.mkdir(parents=True, exist_ok=True)
    loop.weights.master.to("cpu", torch.bfloat16).save_pretrained(target)
    for name in TOKENIZER_FILES:
        if (model_folder / name).is_file():
            shutil.copyfile(model_folder / name, target / name)
    shutil.copyfile(log.path, target / LOG_FILE)
    return outcome


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )


def _prompts(corpus: Corpus) -> list[list[int]]:
    """The beginnings of some held-out works."""
    shards = corpus.shards
    chosen = corpus.held_out[:_PROMPTS]
    return [[int(token) for token in shards[document][:_PROMPT_TOKENS]] for document in chosen]


def _fingerprint(model: str, corpus: Corpus, config: PretrainConfig) -> str:
    """A digest of everything that decides the result of a run."""
    parts = [model, corpus.sha256, config.model_dump_json(), str(corpus.held_out)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
