"""Adapters with random weights, and who listens to a loop."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from kajiya.training.adapters.lora import add_lora
from kajiya.training.batches import IGNORED, Batch, Example
from kajiya.training.config import TuneConfig
from kajiya.training.kernels.install import use_fast_kernels
from support.tiny_models import tiny_torch_model

VOCABULARY = 96


def randomise(tuned: Any, seed: int = 1) -> None:
    """Give every LoRA matrix of a PEFT model random values (a fresh B is zero)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def tuned_pair(family: str, rank: int = 4) -> tuple[Any, Any]:
    """The same random model with the same random adapter: as Kajiya trains it, and as PEFT does."""
    from peft import LoraConfig, get_peft_model

    base = tiny_torch_model(family, VOCABULARY)
    plain = get_peft_model(
        copy.deepcopy(base),
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    fast = add_lora(base, TuneConfig(rank=rank))
    use_fast_kernels(fast, longest=64)
    for model in (fast, plain):
        randomise(model)
        model.train()
    return fast, plain


def adapter_gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def reference_loss(model: Any, batch: Batch) -> torch.Tensor:
    """The summed loss of a padded batch from the model's own logits."""
    logits = model(input_ids=batch.input_ids, use_cache=False).logits[:, :-1]
    targets = batch.labels[:, 1:]
    return cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def examples(*lengths: int, seed: int = 0) -> list[Example]:
    """Rows of random tokens; the later half of each is labels."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Example(
            tuple(torch.randint(8, VOCABULARY, (n,), generator=generator).tolist()),
            tuple(i >= n // 2 for i in range(n)),
        )
        for n in lengths
    ]


class Recorder:
    """A reporter that remembers, and asks to stop or to finish after so many steps."""

    def __init__(self, stop_after: int | None = None, finish_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.finish_after = finish_after
        self.samples: list[tuple[int, str, str, str]] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.logs: list[str] = []

    def progress(self, stage: str, done: float, total: float = 0, **_: Any) -> None: ...

    def metric(self, step: int, **values: float) -> None:
        self.metrics.append((step, values))

    def log(self, message: str) -> None:
        self.logs.append(message)

    def should_stop(self) -> bool:
        return self._has_reached(self.stop_after)

    def should_finish(self) -> bool:
        return self._has_reached(self.finish_after)

    def sample(self, step: int, question: str, answer: str, expected: str = "") -> None:
        self.samples.append((step, question, answer, expected))

    def _has_reached(self, step: int | None) -> bool:
        return step is not None and max(s for s, _ in self.metrics) >= step

    def series(self, name: str) -> dict[int, float]:
        return {step: values[name] for step, values in self.metrics if name in values}
