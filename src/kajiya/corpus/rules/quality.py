"""A quality score that is trained on the user's own good and bad samples.

Logistic regression on the character n-grams of a text: how often each is there, as a share, hashed into
buckets. Training finds the one optimum of the penalised likelihood, so the same samples give the same file.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.config import Config, option
from kajiya.core.errors import DataError, FormatError
from kajiya.core.files import atomic_file
from kajiya.core.language import tr
from kajiya.corpus.compiled import compiled
from kajiya.corpus.rules.minimum import minimise
from kajiya.corpus.texts import Texts

_VERSION = 1
_SHORTEST, _LONGEST = 1, 3  # characters of an n-gram
_SCALE = 100.0  # of shares, so that the penalty means the same for any number of samples
_LARGEST_FILE = 1 << 27
_MIX = np.uint64(0x9E3779B97F4A7C15)


class QualitySettings(Config):
    """How a quality score is trained."""

    bits: int = option(
        16,
        en="Bits of a bucket's number",
        ja="バケット番号のビット数",
        help=(
            "n-grams share 2 to this power weights",
            "n-gram は 2 のこの値乗個の重みを共有します",
        ),
        ge=8,
        le=24,
    )
    penalty: float = option(
        1.0,
        en="Penalty",
        ja="正則化の強さ",
        help=(
            "of large weights; higher is more cautious",
            "重みの大きさへの罰則。大きいほど慎重になります",
        ),
        gt=0,
        le=1e6,
    )


@dataclass(frozen=True)
class QualityModel:
    """Weights of a trained score. `weights[bucket]` are for shares of n-grams, times 100."""

    weights: NDArray[np.float32]
    bias: float

    @classmethod
    def open(cls, path: Path) -> QualityModel:
        """What `train_quality` wrote. Raises `FormatError` for anything else."""
        try:
            with zipfile.ZipFile(path) as parts:
                if sum(part.file_size for part in parts.infolist()) > _LARGEST_FILE:
                    raise ValueError("too large")
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                weights = file["weights"]
            if about["version"] != _VERSION:
                raise ValueError(f"version {about['version']}")
            if weights.dtype != np.float32 or weights.ndim != 1 or weights.size.bit_count() != 1:
                raise ValueError("the weights are of another kind")
            if not np.isfinite(weights).all() or not np.isfinite(bias := float(about["bias"])):
                raise ValueError("the weights are not numbers")
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise FormatError(
                tr(f"not a quality score: {error}", f"品質スコアのファイルではありません: {error}"),
                where=str(path),
                fix=tr("train it again", "学習し直してください"),
            ) from None
        return cls(weights, bias)

    def score(self, texts: Texts) -> NDArray[np.float64]:
        """For each text how probable it is, 0 to 1, that it is a good one, were both kinds equally many."""
        sums = _score(texts.points, texts.starts, self.weights)
        return np.asarray(1 / (1 + np.exp(-np.clip(sums * _SCALE + self.bias, -500, 500))))


def train_quality(
    good: Sequence[str], bad: Sequence[str], path: Path, settings: QualitySettings | None = None
) -> QualityModel:
    """Train on samples and write the score to `path` in one step. Both kinds weigh the same, however many.

    Raises `DataError` where a kind has no sample with text.
    """
    settings = settings or QualitySettings()
    kinds = (
        (good, tr("good", "良い"), 1.0),
        (bad, tr("bad", "悪い"), 0.0),
    )
    samples: list[str] = []
    labels: list[float] = []
    for texts, name, label in kinds:
        filled = [text for text in texts if text.strip()]
        if not filled:
            raise DataError(
                tr(f"there is no {name} sample", f"{name}サンプルがありません"),
                fix=tr(
                    "give at least one text of each kind, better some hundred",
                    "どちらも 1 件以上 (できれば数百件) 用意してください",
                ),
            )
        samples += filled
        labels += [label] * len(filled)
    weights, bias = _fit(Texts.read(pl.Series(samples)), np.array(labels), settings)
    model = QualityModel(weights.astype(np.float32), bias)
    about = {"version": _VERSION, "bias": bias, "good": labels.count(1.0), "bad": labels.count(0.0)}
    memory = io.BytesIO()
    np.savez_compressed(memory, weights=model.weights, about=np.array(json.dumps(about)))
    with atomic_file(path) as file:
        file.write(memory.getvalue())
    return model


def _fit(
    texts: Texts, labels: NDArray[np.float64], settings: QualitySettings
) -> tuple[NDArray[np.float64], float]:
    """Weights and bias at the optimum."""
    buckets, shares, starts = _features(texts.points, texts.starts, 1 << settings.bits)
    importance = np.where(labels > 0, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = parameters[:-1], parameters[-1]
        sums = np.add.reduceat(weights[buckets] * shares, starts) * _SCALE + bias
        margins = np.where(labels > 0, sums, -sums)
        value = importance @ np.logaddexp(0, -margins)
        value += settings.penalty * 1e-3 * (weights @ weights) / 2
        wrong = importance * (1 / (1 + np.exp(-np.clip(sums, -500, 500))) - labels)
        spread = np.repeat(wrong, np.diff(np.append(starts, len(buckets)))) * shares * _SCALE
        penalty = settings.penalty * 1e-3 * weights
        gradient = np.bincount(buckets, spread, 1 << settings.bits) + penalty
        return float(value), np.append(gradient, wrong.sum())

    found = minimise(loss, np.zeros((1 << settings.bits) + 1))
    return found[:-1], float(found[-1])


@compiled
def _bucket(points: NDArray[Any], i: int, size: int, mask: Any) -> Any:
    value = np.uint64(size)
    for k in range(i, i + size):
        value = (value ^ np.uint64(points[k])) * _MIX
        value ^= value >> np.uint64(29)
    return value & mask


@compiled
def _score(
    points: NDArray[Any], starts: NDArray[Any], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """The mean weight of all n-grams of each text; 0 for an empty one."""
    scores = np.zeros(len(starts) - 1)
    for text in range(len(starts) - 1):
        total = 0.0
        count = 0
        for size in range(_SHORTEST, _LONGEST + 1):
            for i in range(starts[text], starts[text + 1] - size + 1):
                total += weights[_bucket(points, i, size, np.uint64(len(weights) - 1))]
                count += 1
        if count:
            scores[text] = total / count
    return scores


@compiled
def _features(
    points: NDArray[Any], starts: NDArray[Any], buckets: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The buckets of each text that are not empty, in order, and their shares; where each text's begin."""
    room = 0
    for text in range(len(starts) - 1):
        room += min(buckets, (_LONGEST - _SHORTEST + 1) * (starts[text + 1] - starts[text]))
    found = np.empty(room, np.int64)
    shares = np.empty(room, np.float64)
    begins = np.zeros(len(starts) - 1, np.int64)
    counts = np.zeros(buckets, np.int64)
    at = 0
    for text in range(len(starts) - 1):
        begins[text] = at
        total = 0
        for size in range(_SHORTEST, _LONGEST + 1):
            for i in range(starts[text], starts[text + 1] - size + 1):
                bucket = _bucket(points, i, size, np.uint64(buckets - 1))
                if counts[bucket] == 0:
                    found[at] = bucket
                    at += 1
                counts[bucket] += 1
                total += 1
        found[begins[text] : at].sort()
        for k in range(begins[text], at):
            shares[k] = counts[found[k]] / total
            counts[found[k]] = 0
    return found[:at], shares[:at], begins
