"""A mixture found by small proxy runs: many mixtures tried at a small scale, a regression from weights to
loss, and the mixture for which it predicts the least (Liu et al., "RegMix", 2024).

The runs themselves are `forge.mixture_work`'s: whoever trains asks `propose` for mixtures, and brings
their losses to `fit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.core.errors import DataError
from kajiya.core.language import tr

_STRENGTHS = np.logspace(-8, 2, 41)  # of the ridge, relative to the mean square of a feature
_SPREADS = (0.1, 5.0)  # of the Dirichlet distributions: from nearly one source to nearly the prior
_Array = NDArray[np.float64]


def propose(prior: _Array, runs: int, seed: int = 0) -> _Array:
    """Mixtures to try, `[runs, sources]`, rows of sum 1, around the natural shares `prior` `[sources]`.

    Each comes from a Dirichlet distribution of mean `prior` and a width of its own.
    """
    generator = np.random.default_rng(seed)
    prior = np.asarray(prior, np.float64) / np.sum(prior)
    narrowest, widest = (math.log(spread) for spread in _SPREADS)
    spread = np.exp(generator.uniform(narrowest, widest, runs))
    # As gamma variates, so that tiny shares do not become 0 / 0.
    draws = generator.gamma(np.maximum(spread[:, None] * prior * len(prior), 1e-3)) + 1e-300
    return np.asarray(draws / draws.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class MixtureRegression:
    """Loss as a quadratic function of the weights.

    `rank_correlation` is Spearman's, between losses and what a fit without each run predicts for it:
    below about 0.8 the losses are noise to this regression, and more or longer runs are needed.
    """

    coefficients: _Array
    rank_correlation: float
    error: float

    def predict(self, mixtures: _Array) -> _Array:
        """Losses `[n]` of mixtures `[n, sources]`."""
        return np.asarray(_features(mixtures) @ self.coefficients)


def fit(mixtures: _Array, losses: _Array) -> MixtureRegression:
    """Ridge regression; its strength is what predicts left-out runs best (exactly, by the hat matrix).

    Raises `DataError` if there are fewer runs than sources + 2, or a loss is not a number.
    """
    mixtures, losses = np.asarray(mixtures, np.float64), np.asarray(losses, np.float64)
    if len(losses) < mixtures.shape[1] + 2 or not np.isfinite(losses).all():
        raise DataError(
            tr(
                "the losses of the proxy runs cannot be fitted",
                "小規模な試行の損失に式を当てはめられません",
            ),
            fix=tr(
                f"at least {mixtures.shape[1] + 2} runs that ended with a finite loss are needed",
                f"有限の損失で終わった試行が {mixtures.shape[1] + 2} 回以上必要です",
            ),
        )
    features = _features(mixtures)
    mean = losses.mean()
    left, values, right = np.linalg.svd(features, full_matrices=False)
    scale = float(np.mean(values**2))
    target = left.T @ (losses - mean)
    best: tuple[float, float, Any] = (np.inf, 0.0, None)
    for strength in _STRENGTHS:
        shrink = values**2 / (values**2 + strength * scale)
        fitted = left @ (shrink * target)
        leverage = np.minimum((left**2) @ shrink, 1 - 1e-9)
        without = losses - (losses - mean - fitted) / (1 - leverage)
        error = float(np.sqrt(np.mean((losses - without) ** 2)))
        if error < best[0]:
            best = (error, strength, without)
    error, strength, without = best
    coefficients = right.T @ (values / (values**2 + strength * scale) * target)
    # The weights sum to 1, so a constant is the sum of their coefficients.
    coefficients[: mixtures.shape[1]] += mean
    return MixtureRegression(coefficients, _spearman(losses, without), error)


def best_mixture(
    regression: MixtureRegression,
    prior: _Array,
    *,
    tried: int = 100_000,
    mean_of: int = 100,
    seed: int = 1,
) -> _Array:
    """The mean `[sources]` of the `mean_of` best predicted among `tried` mixtures around `prior`.

    The mean, because the single best is where the regression errs most in its own favour.
    """
    candidates = propose(prior, tried, seed)
    order = np.argsort(regression.predict(candidates), kind="stable")
    return np.asarray(candidates[order[:mean_of]].mean(axis=0))


def _features(mixtures: _Array) -> _Array:
    """The weights and their products in pairs, `[n, sources + sources * (sources - 1) / 2]`."""
    one, other = np.triu_indices(mixtures.shape[1], k=1)
    return np.concatenate([mixtures, mixtures[:, one] * mixtures[:, other]], axis=1)


def _spearman(some: _Array, others: _Array) -> float:
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (some, others)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
