"""The ways to take every sequence of a batch a token further, and which is fastest for how many."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from kajiya.inference.rwkv.batch import States
from kajiya.inference.rwkv.lora import Loras
from kajiya.inference.rwkv.products import adapt
from kajiya.inference.rwkv.stages import (
    Memory,
    finish,
    mix_channels,
    mix_time,
    read_tokens,
    write_heads,
)
from kajiya.inference.rwkv.step import step
from kajiya.inference.rwkv.team import Team
from kajiya.inference.rwkv.weights import Weights

ROWS = 8  # batches are counted in so many: torch generates code for each new shape of a product
_TRIALS = (4, 8, 16, 32, 64, 128, 256)  # batch sizes at which two ways are compared


class Stepper(Protocol):
    """Changes the states of some sequences in place."""

    def step(self, tokens: Any, slots: Any, shares: Any) -> Any:
        """Read `tokens` `[batch]` in `slots` `[batch]`, with `shares` `[batch, adapters]` of the LoRAs.

        Returns logits `[batch, vocabulary]`, which stay until the next call.
        """


@dataclass
class Parts:
    """What the compiled ways share. `loras` may be exchanged between two steps."""

    weights: Weights
    loras: Loras
    memory: Memory
    states: States
    team: Team


class CompiledStepper:
    """All layers in one compiled function: for few sequences, where the weights' bytes are what counts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def step(self, tokens: Any, slots: Any, shares: Any) -> Any:
        """See `Stepper.step`."""
        p = self._parts
        p.team.run(step, p.weights, p.loras, p.memory, tokens, slots, shares, *p.states.parts)
        return p.memory.logits[: len(tokens)]


class MatrixStepper:
    """torch's matrix products in the model's own precision, compiled loops between them: for many."""

    def __init__(self, model: Any, parts: Parts) -> None:
        self._model, self._parts = model, parts
        self._tensors = Memory(*map(torch.from_numpy, parts.memory))

    @torch.no_grad()
    def step(self, tokens: Any, slots: Any, shares: Any) -> Any:
        """See `Stepper.step`."""
        p, m, t, run = self._parts, self._parts.memory, self._tensors, self._parts.team.run
        dtype, rows = self._model.dtype, -(-len(tokens) // ROWS) * ROWS
        run(read_tokens, p.weights, m, tokens)
        for layer, block in enumerate(self._model.model.blocks):
            run(mix_time, p.weights, m, layer, slots, p.states.att_shift)
            self._time_mix(block.att, t.mixed[:, :rows].to(dtype), layer, rows)
            for index, name in enumerate("rkv"):
                self._adapt(name, layer, shares, m.mixed[index], getattr(m, name))
            run(write_heads, p.weights, m, layer, slots, p.states.wkv)
            t.x[:rows] += block.att.output(t.y[:rows].to(dtype))
            self._adapt("output", layer, shares, m.y, m.x)
            run(mix_channels, p.weights, m, layer, slots, p.states.ffn_shift)
            t.inner[:rows] = block.ffn.key(t.mixed[0, :rows].to(dtype))
            self._adapt("ffn_key", layer, shares, m.mixed[0], m.inner)
            inner = t.inner[:rows].relu_().square_()
            t.x[:rows] += block.ffn.value(inner.to(dtype))
            self._adapt("ffn_value", layer, shares, m.inner, m.x)
        run(finish, p.weights, m, len(tokens))
        t.logits[:rows] = self._model.head(t.y[:rows].to(dtype))
        return m.logits[: len(tokens)]

    def _time_mix(self, att: Any, mixed: Tensor, layer: int, rows: int) -> None:
        t = self._tensors
        r, k, v, w, a, g = mixed.unbind()
        t.r[:rows], t.k[:rows], t.v[:rows] = att.receptance(r), att.key(k), att.value(v)
        t.wide_w[:rows] = torch.tanh(w @ att.w1) @ att.w2
        t.wide_a[:rows] = (a @ att.a1) @ att.a2
        t.wide_g[:rows] = torch.sigmoid(g @ att.g1) @ att.g2
        if layer > 0:
            t.wide_v[:rows] = (v @ att.v1) @ att.v2

    def _adapt(self, name: str, layer: int, shares: Any, x: Any, out: Any) -> None:
        if shares.any():
            loras = self._parts.loras
            a, b = getattr(loras, f"{name}_a"), getattr(loras, f"{name}_b")
            self._parts.team.run(adapt, a, b, layer, shares, x, out)


class TorchStepper:
    """The model itself, a token at a time: for any recurrent model, without LoRA."""

    def __init__(self, model: Any, states: States) -> None:
        self._model, self._states = model, states

    @torch.no_grad()
    def step(self, tokens: Any, slots: Any, shares: Any) -> Any:
        """See `Stepper.step`."""
        out = self._model(
            input_ids=torch.from_numpy(tokens)[:, None],
            state=self._states.get(slots),
            use_cache=True,
            logits_to_keep=1,
        )
        self._states.put(slots, out.state)
        return out.logits[:, -1].float().numpy()


class FastestStepper:
    """`few` for small batches and `many` from the size on at which it was faster when both were tried."""

    def __init__(self, few: Stepper, many: Stepper, parts: Parts) -> None:
        self._few, self._many = few, many
        self.threshold = _threshold(few, many, len(parts.states.wkv), len(parts.loras.r_a))

    def step(self, tokens: Any, slots: Any, shares: Any) -> Any:
        """See `Stepper.step`."""
        stepper = self._many if len(tokens) >= self.threshold else self._few
        return stepper.step(tokens, slots, shares)


def _threshold(few: Stepper, many: Stepper, slots: int, adapters: int) -> int:
    """The smallest batch of those tried for which `many` is faster; beyond `slots` if none is."""
    for size in _TRIALS:
        if size > slots:
            break
        if _seconds(many, size, adapters) < _seconds(few, size, adapters):
            return size
    return slots + 1


def _seconds(stepper: Stepper, size: int, adapters: int) -> float:
    """The fastest of a few steps, after one that compiles."""
    tokens, slots = np.zeros(size, np.int64), np.arange(size)
    shares = np.zeros((size, adapters), np.float32)
    found = []
    for _ in range(4):
        started = time.perf_counter()
        stepper.step(tokens, slots, shares)
        found.append(time.perf_counter() - started)
    return min(found[1:])
