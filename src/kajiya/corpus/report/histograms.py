"""Histograms of the lengths and of each rule's statistic, kept and dropped documents apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

_BINS = 36
_EDGES = (0.005, 0.995)  # shares beyond which values are put into the outermost bins
_WIDE = 1000.0  # a range of this ratio is shown on a logarithmic axis


def histograms(sample: pl.DataFrame) -> list[dict[str, Any]]:
    """For `characters` (or `stat.length`) and each `stat.NAME`: edges of the bins, documents in each."""
    kept = sample["stage"] == ""
    found = []
    for name in sample.columns:
        length = name == "characters" and "stat.length" not in sample.columns
        if not length and not name.startswith("stat."):
            continue
        column = sample[name].cast(pl.Float64)
        known = column.is_not_null() & column.is_finite()
        values, of_kept = column.filter(known).to_numpy(), kept.filter(known).to_numpy()
        if len(values) == 0 or values.min() == values.max():  # which shows nothing
            continue
        edges, logarithmic = _edges(values)
        inside = np.clip(values, edges[0], edges[-1])
        found.append(
            {
                "name": name.removeprefix("stat."),
                "logarithmic": logarithmic,
                "edges": [float(edge) for edge in edges],
                "kept": np.histogram(inside[of_kept], edges)[0].tolist(),
                "dropped": np.histogram(inside[~of_kept], edges)[0].tolist(),
            }
        )
    return found


def _edges(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    low, high = np.quantile(values, _EDGES)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > _WIDE:
        return np.geomspace(low, high, _BINS + 1), True
    return np.linspace(low, high, _BINS + 1), False
