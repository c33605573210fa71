"""The choice of the next token: bias, penalties, temperature, nucleus (top-p) and min-p, in this order.

One row of logits at a time in compiled code, so that a full batch costs little; each sequence has a
random stream of its own, so what is drawn does not depend on the others.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from kajiya.inference.protocol import GenerateRequest
from kajiya.models.compiled import exp, loop

_NOTHING = np.float32(0)
_FARTHEST = np.float32(-80)
_COLDEST = 1e-5  # below, the largest logit is all that is left


class Sampler:
    """What one request asks of the choice, and the tokens chosen so far."""

    def __init__(self, request: GenerateRequest) -> None:
        seed = None if request.seed is None else request.seed % 2**64
        self._random = np.random.default_rng(seed)
        self._frequency = request.frequency_penalty
        self._presence = request.presence_penalty
        self._chosen: Counter[int] = Counter()
        self._bias = request.logit_bias
        self._settings = (request.temperature, request.top_p, request.min_p)

    def prepare(self, logits: Any) -> tuple[float, float, float, float]:
        """Change `logits` `[vocabulary]` in place as bias and penalties say; returns a row for `choose`."""
        for token, bias in self._bias:
            logits[token] += bias
        if self._chosen and (self._frequency or self._presence):
            tokens = np.fromiter(self._chosen.keys(), np.int64)
            counts = np.fromiter(self._chosen.values(), np.float32)
            logits[tokens] -= self._frequency * counts + self._presence
        return (*self._settings, float(self._random.random()))

    def chose(self, token: int) -> None:
        """Remember what was chosen."""
        if self._frequency or self._presence:
            self._chosen[token] += 1


@loop
def choose(
    logits: Any, settings: Any, tokens: Any, counters: Any, member: int, members: int
) -> None:
    """`tokens` `[batch]` from `logits` `[batch, vocabulary]`, the rows shared out among a team.

    `settings` `[batch, 4]`: temperature (0: the largest logit), top-p, min-p, a uniform number in
    [0, 1). Top-p keeps the smallest set of likeliest tokens that has this much of the probability (Holtzman
    et al. 2020, arXiv:1904.09751), min-p those at least this fraction as likely as the likeliest.
    """
    powers = np.empty(logits.shape[1], np.float32)
    for row in range(member, len(tokens), members):
        temperature, top_p, min_p, uniform = settings[row]
        z = logits[row]
        best = 0
        for j in range(len(z)):
            if z[j] > z[best]:
                best = j
        tokens[row] = best
        if temperature > _COLDEST:
            total = _powers(z, z[best], np.float32(1 / temperature), powers)
            if top_p < 1:
                tokens[row] = _draw_nucleus(powers, total, top_p, np.float32(min_p), uniform, best)
            else:
                tokens[row] = _draw(powers, np.float32(min_p), uniform, best)


@loop
def _powers(z: Any, largest: Any, sharpness: Any, out: Any) -> float:
    """`out` = exp((z - largest) · sharpness), 0 where z is -inf; returns the sum."""
    for j in range(len(z)):
        out[j] = exp(max((z[j] - largest) * sharpness, _FARTHEST))
    total = 0.0
    for j in range(len(z)):
        if z[j] == -np.inf:
            out[j] = _NOTHING
        total += out[j]
    return total


@loop
def _draw(powers: Any, min_p: Any, uniform: float, best: int) -> int:
    """A token by its share among those of at least `min_p`, in the order of the vocabulary."""
    kept = 0.0
    for j in range(len(powers)):
        if powers[j] >= min_p:
            kept += powers[j]
    goal, passed = uniform * kept, 0.0
    for j in range(len(powers)):
        if powers[j] >= min_p and powers[j] > 0:
            passed += powers[j]
            if passed > goal:
                return j
    return best


@loop
def _draw_nucleus(
    powers: Any, total: float, top_p: float, min_p: Any, uniform: float, best: int
) -> Any:
    """The same among the nucleus, likeliest first.

    All tokens below (1 - top_p) / vocabulary together have less than 1 - top_p, so none of them is in
    the nucleus, and only the others are sorted.
    """
    least = np.float32((1 - top_p) * total / len(powers))
    candidates = np.flatnonzero(powers >= least)
    order = candidates[np.argsort(-powers[candidates], kind="mergesort")]
    count, mass, kept = 0, 0.0, 0.0
    while count < len(order) and (count == 0 or mass < top_p * total):
        mass += powers[order[count]]
        if powers[order[count]] >= min_p:
            kept += powers[order[count]]
        count += 1
    goal, passed = uniform * kept, 0.0
    for j in order[:count]:
        if powers[j] >= min_p:
            passed += powers[j]
            if passed > goal:
                return j
    return best
