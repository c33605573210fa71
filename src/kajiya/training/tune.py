"""Tuning from end to end: a base model's folder and rows in, an adapter's folder out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from kajiya.core.errors import DataError
from kajiya.core.hardware import probe
from kajiya.core.language import tr
from kajiya.data.rows import Row
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from kajiya.training.adapters.kinds import add_adapter, save_adapter
from kajiya.training.batches import Example
from kajiya.training.checkpoint import Checkpoints
from kajiya.training.config import TuneConfig
from kajiya.training.kernels.install import use_fast_kernels
from kajiya.training.loop import Loop, Outcome, TuneReporter
from kajiya.training.tune_samples import AnswerSampler


def tokenize(rows: Sequence[Row], tokenizer: ChatTokenizer, max_tokens: int) -> list[Example]:
    """Rows as examples; those longer than `max_tokens` are left out (the data check reports them)."""
    examples = []
    for row in rows:
        ids, trained = tokenizer.encode_training(row.messages)
        if len(ids) <= max_tokens:
            examples.append(Example(tuple(ids), tuple(trained)))
    return examples


def load_base(folder: Path, config: TuneConfig) -> Any:
    """The base model, in bf16 where the machine is fast at it."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from kajiya.models.architectures import register

    register()
    logging.disable_progress_bar()
    fast = torch.cuda.is_available() or probe(folder).bf16
    bf16 = config.precision == "bf16" or (config.precision == "auto" and fast)
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if bf16 else torch.float32,
        use_safetensors=True,
        local_files_only=True,
    )


def fingerprint(base: str, config: TuneConfig, *data: Sequence[Example]) -> str:
    """A digest of everything that decides the result of a run."""
    digest = hashlib.sha256(base.encode())
    digest.update(config.model_dump_json().encode())
    for examples in data:
        digest.update(json.dumps([asdict(example) for example in examples]).encode())
    return digest.hexdigest()


def tune(
    base_folder: Path,
    base_reference: str,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    config: TuneConfig,
    checkpoints: Path,
    target: Path,
    reporter: TuneReporter,
    questions: Sequence[Row] = (),
) -> Outcome:
    """Tune the base in `base_folder` on `rows` and write the adapter into the folder `target`.

    What it answers to `questions` is told at every evaluation; that changes nothing in the result.
    Goes on from `checkpoints` if there is something. Asked to stop, it saves a checkpoint, writes the
    adapter as it is, and returns with `stopped`. Raises `DataError` if no row can be trained on.
    """
    tokenizer = ChatTokenizer.load(base_folder)
    examples = tokenize(rows, tokenizer, config.max_tokens)
    validation = tokenize(held_out, tokenizer, config.max_tokens)
    if not examples:
        raise DataError(
            tr("no row is left to train on", "学習できる行が残りません"),
            fix=tr("see `kajiya data check`", "`kajiya data check` で確かめてください"),
        )
    reporter.log(tr(f"{len(examples)} rows to train on", f"学習する行: {len(examples)}"))
    torch.manual_seed(config.seed)
    model = add_adapter(load_base(base_folder, config), config)
    use_fast_kernels(model, longest=_longest(config, [*examples, *validation]))
    model.train()
    loop = Loop(
        model,
        examples,
        validation,
        config,
        Checkpoints(checkpoints, fingerprint(base_reference, config, examples, validation)),
        reporter,
        pad_id=tokenizer.pad_id or 0,
        template_tokens=_template_tokens(tokenizer),
        watch=AnswerSampler(questions, tokenizer, reporter.sample) if questions else None,
    )
    outcome = loop.run()
    target.mkdir(parents=True, exist_ok=True)
    save_adapter(loop.model, target, base_folder, base_reference, config)
    return outcome


def _longest(config: TuneConfig, examples: Sequence[Example]) -> int:
    """The longest row of a batch, in tokens."""
    longest = max(len(example) for example in examples)
    return max(longest, config.batch_tokens) if config.packing else longest


def _template_tokens(tokenizer: ChatTokenizer) -> int:
    """Tokens that the chat template puts around a question, at its longer end."""
    bare = tokenizer.encode_chat([Message("user", "")])
    marked = tokenizer.encode_chat([Message("user", "。")])
    before = next(
        (i for i, (a, b) in enumerate(zip(bare, marked, strict=False)) if a != b), len(bare)
    )
    return max(before, len(bare) - before)
