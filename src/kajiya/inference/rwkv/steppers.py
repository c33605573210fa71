"""The ways to take a step, and which is fastest for how many rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from kajiya.inference.rwkv.batch import Rows, States
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

_TRIALS = (4, 8, 16, 32, 64, 128, 256)  # numbers of rows at which two ways are compared
_NEVER = 1 << 30


class Stepper(Protocol):
    """Changes the states of some sequences in place."""

    def step(self, rows: Rows) -> Any:
        """Read `rows`; returns logits `[answers, vocabulary]`, which stay until the next call."""


@dataclass
class Parts:
    """What the compiled ways share. `loras` may be exchanged between two steps."""

    weights: Weights
    loras: Loras
    memory: Memory
    states: States
    team: Team


class CompiledStepper:
    """All layers in one compiled function: for few rows, where the weights' bytes are what counts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def step(self, rows: Rows) -> Any:
        """See `Stepper.step`."""
        p = self._parts
        p.team.run(step, p.weights, p.loras, p.memory, *rows, *p.states.parts)
        return p.memory.logits[: len(rows.last)]


class MatrixStepper:
    """torch's matrix products in the model's own precision, compiled loops between them: for many."""

    def __init__(self, model: Any, parts: Parts) -> None:
        self._model, self._parts = model, parts
        self._tensors = Memory(*map(torch.from_numpy, parts.memory))

    @torch.no_grad()
    def step(self, rows: Rows) -> Any:
        """See `Stepper.step`."""
        p, m, t, run = self._parts, self._parts.memory, self._tensors, self._parts.team.run
        dtype, count, slots, shares = self._model.dtype, rounded(len(rows.tokens)), *rows[1:3]
        run(read_tokens, p.weights, m, rows.tokens)
        for layer, block in enumerate(self._model.model.blocks):
            run(mix_time, p.weights, m, layer, slots, p.states.att_shift)
            self._time_mix(block.att, t.mixed[:, :count].to(dtype), layer, count)
            for index, name in enumerate("rkv"):
                self._adapt(name, layer, shares, m.mixed[index], getattr(m, name))
            run(write_heads, p.weights, m, layer, slots, p.states.wkv)
            t.x[:count] += block.att.output(t.y[:count].to(dtype))
            self._adapt("output", layer, shares, m.y, m.x)
            run(mix_channels, p.weights, m, layer, slots, p.states.ffn_shift)
            t.inner[:count] = block.ffn.key(t.mixed[0, :count].to(dtype))
            self._adapt("ffn_key", layer, shares, m.mixed[0], m.inner)
            inner = t.inner[:count].relu_().square_()
            t.x[:count] += block.ffn.value(inner.to(dtype))
            self._adapt("ffn_value", layer, shares, m.inner, m.x)
        run(finish, p.weights, m, rows.last)
        answers = len(rows.last)
        logits = self._model.head(t.y[: rounded(answers)].to(dtype))
        t.logits[:answers] = logits[:answers]
        return m.logits[:answers]

    def _time_mix(self, att: Any, mixed: Tensor, layer: int, count: int) -> None:
        t = self._tensors
        r, k, v, w, a, g = mixed.unbind()
        t.r[:count], t.k[:count], t.v[:count] = att.receptance(r), att.key(k), att.value(v)
        t.wide_w[:count] = torch.tanh(w @ att.w1) @ att.w2
        t.wide_a[:count] = (a @ att.a1) @ att.a2
        t.wide_g[:count] = torch.sigmoid(g @ att.g1) @ att.g2
        if layer > 0:
            t.wide_v[:count] = (v @ att.v1) @ att.v2

    def _adapt(self, name: str, layer: int, shares: Any, x: Any, out: Any) -> None:
        if shares.any():
            loras = self._parts.loras
            a, b = getattr(loras, f"{name}_a"), getattr(loras, f"{name}_b")
            self._parts.team.run(adapt, a, b, layer, shares, x, out)


class TorchStepper:
    """The model itself: for any recurrent model, without LoRA."""

    def __init__(self, model: Any, states: States) -> None:
        self._model, self._states = model, states

    @torch.no_grad()
    def step(self, rows: Rows) -> Any:
        """See `Stepper.step`."""
        starts = np.flatnonzero(np.diff(rows.slots, prepend=-1))
        lengths = np.diff(starts, append=len(rows.slots))
        logits = np.zeros((len(rows.slots), self._model.config.vocab_size), np.float32)
        for length in np.unique(lengths):  # sequences with as many tokens go together
            at = starts[lengths == length]
            tokens = torch.from_numpy(rows.tokens[at[:, None] + np.arange(length)])
            state = self._states.get(rows.slots[at])
            out = self._model(input_ids=tokens, state=state, use_cache=True, logits_to_keep=1)
            self._states.put(rows.slots[at], out.state)
            logits[at + length - 1] = out.logits[:, -1].float().numpy()
        return logits[rows.last]


class FastestStepper:
    """`few` for few rows and `many` from the number on at which it was faster when both were tried."""

    def __init__(self, few: Stepper, many: Stepper, parts: Parts) -> None:
        self._few, self._many = few, many
        self.threshold = _threshold(few, many, len(parts.states.wkv), len(parts.loras.r_a))

    def step(self, rows: Rows) -> Any:
        """See `Stepper.step`."""
        stepper = self._many if len(rows.tokens) >= self.threshold else self._few
        return stepper.step(rows)


def rounded(rows: int) -> int:
    """A few numbers of rows instead of many: torch prepares anew for each shape of a product."""
    multiple = 8 if rows <= 64 else 32
    return -(-rows // multiple) * multiple


def _threshold(few: Stepper, many: Stepper, slots: int, adapters: int) -> int:
    """The smallest number of rows of those tried for which `many` is faster; beyond all if none is."""
    for count in _TRIALS:
        rows = _trial(count, slots, adapters)
        if _seconds(many, rows) < _seconds(few, rows):
            return count
    return _NEVER


def _trial(count: int, slots: int, adapters: int) -> Rows:
    """So many rows, of as many sequences as there can be."""
    owners = np.sort(np.arange(count) % slots)
    last = np.flatnonzero(np.diff(owners, append=-1))
    return Rows(np.zeros(count, np.int64), owners, np.zeros((count, adapters), np.float32), last)


def _seconds(stepper: Stepper, rows: Rows) -> float:
    """The fastest of a few steps, after one that compiles."""
    found = []
    for _ in range(4):
        started = time.perf_counter()
        stepper.step(rows)
        found.append(time.perf_counter() - started)
    return min(found[1:])
