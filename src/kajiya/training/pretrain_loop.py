"""The loop of pretraining: windows of text in, all weights trained, resumable at any step.

Sister of `loop`, which tunes adapters on rows of a conversation. One process, on a GPU if there is one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kajiya.core.errors import JobError
from kajiya.core.language import tr
from kajiya.corpus.build import Corpus
from kajiya.models.rwkv7.initialise import parameter_groups
from kajiya.training.checkpoint import Checkpoints, Position, Snapshot, restore_rng, rng_state
from kajiya.training.loop import Reporter
from kajiya.training.master_weights import MasterWeights
from kajiya.training.objectives.language_model import language_model_loss
from kajiya.training.pretrain_config import PretrainConfig
from kajiya.training.pretrain_samples import Sampler
from kajiya.training.pretrain_windows import Windows
from kajiya.training.schedule import rate_factor
from kajiya.training.training_log import TrainingLog


@dataclass(frozen=True)
class PretrainOutcome:
    """How a run ended. `train_loss` is in nats a token, of the last step; `seconds` without loading."""

    steps: int
    total_steps: int
    stopped: bool
    train_loss: float | None
    bits_per_byte: float | None
    seconds: float
    tokens: int


class PretrainLoop:
    """Trains `model` (in fp32) in place on `corpus`, computing in `dtype`; call `run` once."""

    def __init__(
        self,
        model: nn.Module,
        corpus: Corpus,
        config: PretrainConfig,
        dtype: torch.dtype,
        checkpoints: Checkpoints,
        reporter: Reporter,
        log: TrainingLog,
        sampler: Sampler,
    ) -> None:
        self.config = config
        self.corpus = corpus
        self.checkpoints = checkpoints
        self.reporter = reporter
        self.log = log
        self.sampler = sampler
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.weights = MasterWeights(model.to(self.device), dtype)
        self.weights.working.train()
        groups = parameter_groups(model, config.learning_rate, config.weight_decay)
        # The reference's optimiser for RWKV; a Llama trains as well with it.
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-18, fused=True)
        shards = corpus.shards
        self.windows = Windows(shards, corpus.trained, config.context, config.seed)
        self.held_out = (
            Windows(shards, corpus.held_out, config.context) if corpus.held_out else None
        )
        self.step_tokens = config.context * config.batch_rows
        self.total = max(1, math.ceil((config.tokens or self.windows.tokens) / self.step_tokens))
        self.position = Position()

    def run(self) -> PretrainOutcome:
        """Train from the last checkpoint, or from the start, to the end or until asked to stop."""
        torch.manual_seed(self.config.seed)
        self._restore()
        parts = self.config.evaluations
        evaluate_at = {round(self.total * (i + 1) / parts) for i in range(parts)} - {0}
        first, began = self.position.step, time.monotonic()
        if first == 0:
            self._evaluate(0)
        while self.position.step < self.total:
            step = self.position.step + 1
            self._update(step)
            left = (time.monotonic() - began) / (step - first) * (self.total - step)
            self.reporter.progress("train", step, self.total, unit="step", remaining_seconds=left)
            if step in evaluate_at:
                self._evaluate(step)
            stopped = self.reporter.should_stop() and step < self.total
            if stopped or step % self.config.checkpoint_every == 0:
                self._save()
            if stopped:
                return self._outcome(stopped)
        self._save()
        return self._outcome(stopped=False)

    def _update(self, step: int) -> None:
        """One step of the optimiser."""
        start = time.monotonic()
        config = self.config
        factor = rate_factor(step - 1, self.total, config.warmup, config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor * group["scale"]
        rows = self.windows.rows((step - 1) * config.batch_rows, config.batch_rows)
        loss = 0.0
        for part in rows.to(self.device).split(config.accumulation):
            nats = self._loss(part, config.logit_penalty) / self.step_tokens
            nats.backward()
            self.weights.collect()
            loss += nats.item()
        norm = nn.utils.clip_grad_norm_(self.weights.parameters, config.max_gradient_norm)
        if not math.isfinite(loss):
            raise JobError(
                tr(f"the loss became {loss}", f"損失が {loss} になりました"),
                where=f"step {step}",
                fix=tr(
                    "lower the learning rate and start anew", "学習率を下げて新しく始めてください"
                ),
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.weights.publish()
        seconds = time.monotonic() - start
        self.position.step = step
        self.position.seconds += seconds
        self.position.tokens += self.step_tokens
        self.position.train_loss = loss
        values = {
            "loss": loss,
            "learning_rate": config.learning_rate * factor,
            "gradient_norm": float(norm),
            "tokens_per_second": self.step_tokens / seconds,
        }
        self.reporter.metric(step, **values)
        self._note(values)

    def _loss(self, rows: Any, penalty: float = 0.0) -> torch.Tensor:
        return language_model_loss(
            self.weights.working, rows.inputs, rows.targets, rows.positions, penalty
        )

    @torch.no_grad()
    def _evaluate(self, step: int) -> None:
        """Bits per byte of the held-out text, and samples."""
        if self.held_out is None:
            return
        start = time.monotonic()
        model = self.weights.working.eval()
        nats = 0.0
        rows = self.config.batch_rows
        for at in range(0, self.held_out.count, rows):
            batch = self.held_out.rows(at, min(rows, self.held_out.count - at))
            nats += self._loss(batch.to(self.device)).item()
            self.reporter.progress("held-out", at + rows, self.held_out.count, unit="row")
        bits = nats / math.log(2) / self.corpus.held_out_size
        samples = self.sampler.samples(model)
        model.train()
        self.position.seconds += time.monotonic() - start
        if self.position.best_loss is None or bits < self.position.best_loss:
            self.position.best_loss, self.position.best_step = bits, step
        self.reporter.metric(step, held_out_bits_per_byte=bits)
        self._note({"held_out_bits_per_byte": bits, "samples": samples})

    def _note(self, values: dict[str, Any]) -> None:
        at = self.position
        self.log.append(
            {"step": at.step, "tokens": at.tokens, "seconds": round(at.seconds, 3), **values}
        )

    def _save(self) -> None:
        named = self.weights.master.named_parameters()
        parameters = {n: p.detach().to("cpu", copy=True).contiguous() for n, p in named}
        state = self.optimizer.state_dict()
        self.checkpoints.save(Snapshot(self.position, parameters, None, state, rng_state()))

    def _restore(self) -> None:
        snapshot = self.checkpoints.load()
        if snapshot is None:
            self.log.rewind(-1)
            return
        self.weights.assign(snapshot.parameters)
        self.optimizer.load_state_dict(snapshot.optimizer)
        restore_rng(snapshot.rng)
        self.position = snapshot.position
        self.log.rewind(self.position.step)
        self.reporter.log(
            tr(
                f"resumed at step {self.position.step} of {self.total}",
                f"{self.total} ステップ中 {self.position.step} から再開しました",
            )
        )

    def _outcome(self, stopped: bool) -> PretrainOutcome:
        at = self.position
        return PretrainOutcome(
            steps=at.step,
            total_steps=self.total,
            stopped=stopped,
            train_loss=at.train_loss,
            bits_per_byte=at.best_loss,
            seconds=at.seconds,
            tokens=at.tokens,
        )
