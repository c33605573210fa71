"""The training loop: batches in, an adapter out, resumable at any step.

One loop for every objective. What is trained is whatever in the model requires a gradient.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from kajiya.core.errors import JobError
from kajiya.core.language import tr
from kajiya.training.adapters.kinds import rate_scale
from kajiya.training.batches import Batch, Example, collate, drop_from_question, plan_epoch
from kajiya.training.checkpoint import (
    Checkpoints,
    Parameters,
    Position,
    Snapshot,
    restore_rng,
    rng_state,
)
from kajiya.training.config import TuneConfig
from kajiya.training.objectives.supervised import supervised_loss
from kajiya.training.schedule import rate_factor
from kajiya.training.workers import Workers


class Reporter(Protocol):
    """Whom the loop tells how it goes; a running job is one."""

    def progress(
        self,
        stage: str,
        done: float,
        total: float = 0,
        *,
        unit: str = "",
        remaining_seconds: float | None = None,
    ) -> None: ...
    def metric(self, step: int, **values: float) -> None: ...
    def log(self, message: str) -> None: ...
    def should_stop(self) -> bool: ...


class TuneReporter(Reporter, Protocol):
    """Whom a tuning tells, and who may have it end early with what it has learnt."""

    def sample(self, step: int, question: str, answer: str, expected: str = "") -> None: ...
    def should_finish(self) -> bool: ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended. Losses are means over labels, in nats, the held-out one that of the
    parameters that were kept (or of those last measured, if it stopped between two evaluations);
    `seconds` is without loading.

    Fewer `steps` than `total_steps`: it was asked to stop (`stopped`), or to finish early.
    """

    steps: int
    total_steps: int
    stopped: bool
    train_loss: float | None
    held_out_loss: float | None
    kept_step: int
    seconds: float
    tokens: int


class Loop:
    """Trains `model` in place on `examples`; call `run` once.

    `watch` is shown the model at step 0 and at every evaluation; it must change nothing and draw no
    random numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        examples: Sequence[Example],
        held_out: Sequence[Example],
        config: TuneConfig,
        checkpoints: Checkpoints,
        reporter: TuneReporter,
        *,
        pad_id: int,
        template_tokens: int = 0,
        watch: Callable[[nn.Module, int], None] | None = None,
    ) -> None:
        self.config = config
        self.examples = examples
        self.held_out = held_out
        self.checkpoints = checkpoints
        self.reporter = reporter
        self.pad_id = pad_id
        self.template_tokens = template_tokens
        self.watch = watch
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.names = [n for n, p in model.named_parameters() if p.requires_grad]
        fused = all(p.dtype == torch.float32 for p in self.trained)
        optimizer = torch.optim.AdamW(
            self._groups(),
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            fused=fused,
        )
        self.model = model.to(self.accelerator.device)
        self.optimizer = self.accelerator.prepare(optimizer)
        # Threads draw random numbers in no fixed order.
        self.workers = Workers(self.accelerator.device, **({"most": 1} if config.dropout else {}))
        self.plans = [self._plan(epoch) for epoch in range(config.epochs)]
        self.total = sum(len(plan) for plan in self.plans)
        self.position = Position()
        self.best: Parameters | None = None

    def _groups(self) -> list[dict[str, Any]]:
        """The parts of an adapter at their own rates: `scale` multiplies the learning rate."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in zip(self.names, self.trained, strict=True):
            groups.setdefault(rate_scale(name, self.config), []).append(parameter)
        return [{"params": members, "scale": scale} for scale, members in groups.items()]

    def _plan(self, epoch: int) -> list[list[list[int]]]:
        """The updates of an epoch: each a list of batches, each a list of rows."""
        config = self.config
        lengths = [len(example) for example in self.examples]
        batches = plan_epoch(lengths, config.batch_tokens, config.seed, epoch, config.packing)
        size = config.accumulation * self.accelerator.num_processes
        return [batches[i : i + size] for i in range(0, len(batches), size)]

    def run(self) -> Outcome:
        """Train from the last checkpoint, or from the start, to the end or until asked to stop."""
        torch.manual_seed(self.config.seed)
        self._restore()
        evaluate_at = {
            round(self.total * (i + 1) / self.config.evaluations)
            for i in range(self.config.evaluations)
        }
        stopped = finished = False
        first = self.position.step
        step = 0
        if first == 0:
            self._show(0)
        began = time.monotonic()
        for epoch, plan in enumerate(self.plans):
            for update in plan:
                step += 1
                if step <= first:
                    continue
                self._update(epoch, step, update, began, first)
                stopped = self.reporter.should_stop() and step < self.total
                finished = not stopped and self.reporter.should_finish()
                if step in evaluate_at or finished:
                    self._evaluate(step)
                    self._show(step)
                if stopped or finished or step % self.config.checkpoint_every == 0:
                    self._save()
                if stopped or finished:
                    return self._outcome(stopped)
        self._save()
        return self._outcome(stopped)

    def _update(
        self, epoch: int, step: int, update: list[list[int]], began: float, first: int
    ) -> None:
        """One step of the optimiser over the batches of `update`."""
        start = time.monotonic()
        mine = update[self.accelerator.process_index :: self.accelerator.num_processes]
        batches = [self._parts(rows, epoch) for rows in mine]
        labels, tokens = self._totals([part for parts in batches for part in parts])
        factor = rate_factor(step - 1, self.total, self.config.warmup, self.config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor * group["scale"]
        loss = 0.0
        for parts in batches:
            loss += self._add_gradients(parts, labels)
        self._sum_over_processes()
        norm = self.accelerator.clip_grad_norm_(self.trained, self.config.max_gradient_norm)
        loss = sum(gather_object([loss]))
        if not torch.isfinite(torch.tensor(loss)):
            raise JobError(
                tr(f"the loss became {loss}", f"損失が {loss} になりました"),
                where=f"step {step}",
                fix=tr(
                    "train again with a lower learning rate", "学習率を下げてやり直してください"
                ),
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.monotonic() - start
        self.position.step = step
        self.position.seconds += seconds
        self.position.tokens += tokens
        self.position.train_loss = loss
        self.reporter.metric(
            step,
            loss=loss,
            learning_rate=self.config.learning_rate * factor,
            gradient_norm=float(norm),
            tokens_per_second=tokens / seconds,
            epoch=epoch + 1,
        )
        left = (time.monotonic() - began) / (step - first) * (self.total - step)
        self.reporter.progress("train", step, self.total, unit="step", remaining_seconds=left)

    def _add_gradients(self, parts: list[Batch], labels: int) -> float:
        """Add the gradients of a batch to the parameters' own; returns its share of the loss."""

        def gradients(part: Batch) -> tuple[float, tuple[Tensor, ...]]:
            # The mean over all labels of the update, whichever batch and process they are in.
            share = supervised_loss(self.model, part) / labels
            return share.item(), torch.autograd.grad(share, self.trained, materialize_grads=True)

        loss = 0.0
        for share, values in self.workers.map(gradients, parts):
            loss += share
            for parameter, value in zip(self.trained, values, strict=True):
                parameter.grad = value if parameter.grad is None else parameter.grad.add_(value)
        return loss

    def _sum_over_processes(self) -> None:
        if self.accelerator.num_processes == 1:
            return
        for parameter in self.trained:
            if parameter.grad is None:  # this process had no batch
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = self.accelerator.reduce(parameter.grad, "sum")

    def _totals(self, batches: list[Batch]) -> tuple[int, int]:
        """Labels and tokens of this update in all processes."""
        counts = gather_object([(b.label_count(), b.tokens) for b in batches])
        return max(1, sum(c[0] for c in counts)), sum(c[1] for c in counts)

    def _parts(self, rows: list[int], epoch: int) -> list[Batch]:
        """The rows of a batch, shared out among the workers."""
        config = self.config
        chosen = [self.examples[row] for row in rows]
        # The last epoch sees every question as it will be asked.
        if config.question_dropout and epoch < config.epochs - 1:
            chosen = [
                drop_from_question(
                    example,
                    config.question_dropout,
                    random.Random(f"{config.seed}/{epoch}/{row}"),  # noqa: S311
                    self.template_tokens,
                )
                for row, example in zip(rows, chosen, strict=True)
            ]
        return self._share_out(chosen, config.packing)

    def _share_out(self, examples: list[Example], packing: bool = False) -> list[Batch]:
        count = min(self.workers.count, len(examples))
        # Rows come sorted by length: taken in turn, every worker has as much to do.
        shares = (examples[i::count] for i in range(count))
        return [self._to_device(collate(share, self.pad_id, packing)) for share in shares]

    def _to_device(self, batch: Batch) -> Batch:
        device = self.accelerator.device
        positions = batch.position_ids
        return Batch(
            batch.input_ids.to(device),
            batch.labels.to(device),
            None if positions is None else positions.to(device),
            batch.tokens,
        )

    def _evaluate(self, step: int) -> None:
        """Loss on the held-out rows; remembers the parameters if it is the lowest so far."""
        if not self.held_out:
            return
        start = time.monotonic()
        self.model.eval()
        lengths = [len(example) for example in self.held_out]
        plan = plan_epoch(lengths, self.config.batch_tokens, 0, 0)
        total, labels = 0.0, 0
        for number, rows in enumerate(plan):
            parts = self._share_out([self.held_out[i] for i in rows])
            total += sum(self.workers.map(self._loss, parts))
            labels += sum(part.label_count() for part in parts)
            self.reporter.progress("held-out", number + 1, len(plan), unit="batch")
        self.model.train()
        loss = total / max(1, labels)
        self.position.seconds += time.monotonic() - start
        self.reporter.metric(step, held_out_loss=loss)
        self.position.held_out_loss = loss
        if self.position.best_loss is None or loss < self.position.best_loss:
            self.position.best_loss, self.position.best_step = loss, step
            self.best = self._parameters()

    def _show(self, step: int) -> None:
        if self.watch is None or not self.accelerator.is_main_process:
            return
        self.model.eval()
        self.watch(self.model, step)
        self.model.train()

    @torch.no_grad()
    def _loss(self, batch: Batch) -> float:
        return supervised_loss(self.model, batch).item()

    def _parameters(self) -> Parameters:
        values = (p.detach().to("cpu", copy=True).contiguous() for p in self.trained)
        return dict(zip(self.names, values, strict=True))

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.save(
                Snapshot(
                    self.position,
                    self._parameters(),
                    self.best,
                    self.optimizer.state_dict(),
                    rng_state(),
                )
            )

    def _restore(self) -> None:
        snapshot = self.checkpoints.load()
        if snapshot is None:
            return
        self._assign(snapshot.parameters)
        self.optimizer.load_state_dict(snapshot.optimizer)
        restore_rng(snapshot.rng)
        self.position, self.best = snapshot.position, snapshot.best
        self.reporter.log(
            tr(
                f"resumed at step {self.position.step} of {self.total}",
                f"{self.total} ステップ中 {self.position.step} から再開しました",
            )
        )

    @torch.no_grad()
    def _assign(self, parameters: Parameters) -> None:
        for name, parameter in zip(self.names, self.trained, strict=True):
            parameter.copy_(parameters[name])

    def _outcome(self, stopped: bool) -> Outcome:
        """Leave the parameters that are to be kept in the model."""
        kept, held_out_loss = self.position.step, self.position.held_out_loss
        if self.config.keep == "best" and self.best is not None:
            self._assign(self.best)
            kept, held_out_loss = self.position.best_step, self.position.best_loss
        return Outcome(
            steps=self.position.step,
            total_steps=self.total,
            stopped=stopped,
            train_loss=self.position.train_loss,
            held_out_loss=held_out_loss,
            kept_step=kept,
            seconds=self.position.seconds,
            tokens=self.position.tokens,
        )
