"""Correlations, bootstrap intervals and permutation tests, all seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xinc.notation import Array, Values


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap confidence interval."""

    value: float
    low: float
    high: float


def minmax(values: Array) -> Values:
    """Values moved to [0, 1]; zeros where all are equal."""
    values = np.asarray(values, dtype=np.float64)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def pearson(a: Array, b: Array) -> float:
    """Pearson correlation over all elements; NaN where one side is constant or fewer than three elements are finite."""
    return float(pearson_rows(np.asarray(a, dtype=np.float64).reshape(1, -1), b)[0])


def pearson_rows(rows: Array, b: Array) -> Values:
    """Pearson correlation of each row of ``(n, N)`` with ``b`` of N elements; NaN where a side is constant."""
    rows = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    b = np.asarray(b, dtype=np.float64).ravel()
    finite = np.isfinite(b) & np.isfinite(rows).all(axis=0)
    rows, b = rows[:, finite], b[finite]
    if b.size < 3:
        return np.full(len(rows), np.nan)
    centred, other = rows - rows.mean(axis=1, keepdims=True), b - b.mean()
    norms, norm = np.linalg.norm(centred, axis=1), np.linalg.norm(other)
    # A constant side leaves only rounding noise after centring; compare with what it was made of.
    flat = (norms <= 1e-12 * np.linalg.norm(rows, axis=1)) | (norm <= 1e-12 * np.linalg.norm(b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, np.nan, centred @ other / (norms * norm))


def nanmean(values: Array, axis: int) -> Values:
    """Mean of the finite values along an axis; NaN, in silence, where there are none."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis))


def median(values: Array) -> float:
    """Median of the finite values; NaN, in silence, where there are none."""
    finite = np.asarray(values)[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def residual(a: Array, given: Sequence[Array]) -> Values:
    """What a linear fit of ``given`` (with intercept) leaves of ``a``, flattened."""
    a = np.asarray(a, dtype=np.float64).ravel()
    design = np.stack([np.ones_like(a), *(np.asarray(g, dtype=np.float64).ravel() for g in given)], axis=1)
    fit, *_ = np.linalg.lstsq(design, a, rcond=None)
    left: Values = a - design @ fit
    # Residuals at rounding level mean that `given` explains everything.
    return left if np.linalg.norm(left) > 1e-9 * np.linalg.norm(a - a.mean()) else np.zeros_like(left)


def partial_correlation(a: Array, b: Array, given: Sequence[Array]) -> float:
    """Pearson correlation of ``a`` and ``b`` after a linear fit of ``given`` was taken from both."""
    return pearson(residual(a, given), residual(b, given))


def rank(values: Array) -> Values:
    """Ranks from 1, ties averaged; NaN stays NaN."""
    values = np.asarray(values, dtype=np.float64).ravel()
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    return np.where(np.isnan(values), np.nan, (np.cumsum(ties) - (ties - 1) / 2)[place])


def spearman(a: Array, b: Array) -> float:
    """Rank correlation over all elements where both are finite; NaN for fewer than three."""
    a, b = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    finite = np.isfinite(a) & np.isfinite(b)
    return pearson(rank(a[finite]), rank(b[finite])) if finite.sum() >= 3 else float("nan")


def interval(value: float, draws: Array, level: float = 0.95) -> Interval:
    """A value with the percentile interval of its bootstrap draws; NaN bounds where no draw is finite."""
    draws = np.asarray(draws, dtype=np.float64)
    draws = draws[np.isfinite(draws)]
    if not draws.size:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def bootstrap(
    values: Array,
    statistic: Callable[[Array], float],
    *,
    draws: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of a statistic over the first axis of ``values``.

    Args:
        values: ``(n, ...)``, one row a unit that is resampled.
        statistic: a number from rows.
        draws: number of resamples.
        seed: seed of the resampling.
        level: coverage of the interval.

    Raises:
        ValueError: if there are no rows.
    """
    values = np.asarray(values)
    if not len(values):
        raise ValueError("bootstrap of no rows: there is nothing to resample")
    rng = np.random.default_rng(seed)
    resampled = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(draws)]
    return interval(float(statistic(values)), np.array(resampled), level)


def permutation_p(value: float, null: Array) -> float:
    """One-sided p-value: how often a draw of the null is at least ``value``, the value itself counted once.

    NaN where the value is undefined or the null has no finite draw.
    """
    null = np.asarray(null, dtype=np.float64)
    null = null[np.isfinite(null)]
    if not np.isfinite(value) or not null.size:
        return float("nan")
    return float((1 + np.sum(null >= value)) / (1 + null.size))
