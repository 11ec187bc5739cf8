"""Exact cluster bootstrap of correlations: draws references with replacement, each with all its pairs.

Sources: Davison & Hinkley, Bootstrap Methods and their Application (1997), for the +1 of the p-value; Efron,
Better Bootstrap Confidence Intervals, JASA 82 (1987), for BCa; Kendall (1945) for tau-b and mid-ranks.

A replicate is a vector of integer weights: how often each reference was drawn. No replicate sorts or compares
scores again, yet the result equals that of the resampled pairs, except for rounding (about 1e-14).

Letters: B replicates, G references, M methods, N pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from zsiqa.evaluation.correlation import COEFFICIENTS, checked
from zsiqa.evaluation.resampled import kendall, pearson, spearman

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.95  # of the intervals and tests of rankings, claims and curves


class Interval(NamedTuple):
    """A confidence interval; NaN where it does not exist. `undefined`: number of replicates left out."""

    low: float
    high: float
    undefined: int


def draw(num_groups: int, replicates: int = 2000, seed: int = 0) -> Integers:
    """Draw references with replacement.

    Args:
        num_groups: G, the number of references, and of draws in each replicate.
        replicates: B.
        seed: of `numpy.random.default_rng`; the same seed gives the same draws to every method.

    Returns:
        Count of each reference in each replicate, (B, G). Rows sum to G.

    Raises:
        ValueError: if G or B is below 1.

    Examples:
        >>> draw(3, replicates=2).sum(1).tolist()
        [3, 3]
    """
    if num_groups < 1 or replicates < 1:
        raise ValueError("expected at least 1 reference and 1 replicate, "
                         f"found {num_groups} and {replicates}")
    drawn = np.random.default_rng(seed).integers(num_groups, size=(replicates, num_groups))
    drawn += num_groups * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * num_groups).reshape(replicates, num_groups)


def leave_one_out(num_groups: int) -> Integers:
    """Make the weights of the jackknife, (G, G): row g leaves reference g out."""
    return np.ones((num_groups, num_groups), dtype=np.int64) - np.eye(num_groups, dtype=np.int64)


def replicate(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike,
              coefficients: Sequence[str] = COEFFICIENTS) -> dict[str, Floats]:
    """Correlate scores with labels, pooled over the pairs of the drawn references, for every replicate.

    Methods on the same pairs share the draws, so their differences are paired. They also share the work on
    the labels. A row of ones, `leave_one_out` and `draw` may be stacked into one array of weights: estimate,
    jackknife and bootstrap then need one preparation. Each further method adds about N G bytes of memory.

    Args:
        scores: (N,), or (M, N) for M methods; higher is better, finite.
        labels: (N,); higher is better, finite.
        groups: (N,) integers: the reference of each pair, 0..G-1, each at least once, in any order.
        weights: (B, G) integers >= 0: count of each reference in each replicate, as `draw` returns.
        coefficients: some of `plcc`, `srcc` and `krcc` (tau-b).

    Returns:
        By coefficient, (B,) or (M, B) values. NaN where all scores or all labels of a replicate are equal, or
        where it has fewer than two pairs.

    Raises:
        ValueError: if an argument is not as described above.

    Examples:
        >>> scores, labels, groups = [1.0, 2.0, 3.0, 5.0], [1.0, 3.0, 2.0, 9.0], [0, 0, 1, 1]
        >>> replicate(scores, labels, groups, [[1, 1], [0, 2]])["srcc"].tolist()
        [0.8, 1.0]
    """
    unknown = [name for name in coefficients if name not in COEFFICIENTS]
    if unknown:
        raise ValueError(f"expected coefficients among {', '.join(COEFFICIENTS)}, found {', '.join(unknown)}")
    x, y, g, w = _checked(scores, labels, groups, weights)
    order = np.argsort(g, kind="stable")
    methods, labels_sorted = np.atleast_2d(x)[:, order], y[order]
    starts = np.searchsorted(g[order], np.arange(w.shape[1]))
    defined = _varies(methods, starts, w) & _varies(labels_sorted[None], starts, w)
    compute = {"plcc": pearson, "srcc": spearman, "krcc": kendall}
    result = {}
    for name in coefficients:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = compute[name](methods, labels_sorted, starts, w)
        values = np.where(defined, values.clip(-1, 1), math.nan)
        result[name] = values.reshape(*x.shape[:-1], len(w))
    return result


def percentile_interval(replicates: ArrayLike, level: float = LEVEL) -> Interval:
    """Compute the interval that holds the middle `level` of the replicates.

    Args:
        replicates: (B,); undefined ones, NaN, are left out and counted.
        level: in (0, 1).

    Raises:
        ValueError: if `replicates` is not one-dimensional, or `level` is out of range.
    """
    values, undefined = _defined(replicates, level)
    if not len(values):
        return Interval(math.nan, math.nan, undefined)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), undefined)


def interval_over_references(replicates: ArrayLike, references: int) -> Interval:
    """Compute the percentile interval of `LEVEL`; NaN for one reference, which says nothing about others."""
    return percentile_interval(replicates) if references > 1 else Interval(math.nan, math.nan, 0)


def bca_interval(estimate: float, replicates: ArrayLike, jackknife: ArrayLike,
                 level: float = LEVEL) -> Interval:
    """Compute the bias-corrected and accelerated (BCa) interval.

    It is better than `percentile_interval` for few references. A replicate equal to the estimate counts as
    half below it.

    Args:
        estimate: over all references.
        replicates: (B,); undefined ones, NaN, are left out and counted.
        jackknife: (G,), the estimates with each reference left out once: weights `leave_one_out`.
        level: in (0, 1).

    Returns:
        The interval; NaN where it does not exist: the estimate or a jackknife value is undefined, or all
        replicates lie on one side of the estimate.

    Raises:
        ValueError: if `replicates` or `jackknife` is not one-dimensional, or `level` is out of range.
    """
    values, undefined = _defined(replicates, level)
    left_out = np.asarray(jackknife, dtype=np.float64)
    if left_out.ndim != 1:
        raise ValueError(f"expected one jackknife value a reference, found shape {left_out.shape}")
    none = Interval(math.nan, math.nan, undefined)
    if not (len(values) and len(left_out) and math.isfinite(estimate) and np.isfinite(left_out).all()):
        return none
    below = (np.mean(values < estimate) + np.mean(values <= estimate)) / 2
    if not 0 < below < 1:
        return none
    bias = special.ndtri(below)
    deviations = left_out.mean() - left_out
    spread = np.sum(deviations**2) ** 1.5
    acceleration = np.sum(deviations**3) / (6 * spread) if spread > 0 else 0.0
    shifted = bias + special.ndtri([(1 - level) / 2, (1 + level) / 2])
    room = 1 - acceleration * shifted
    if (room <= 0).any():
        return none
    low, high = np.quantile(values, special.ndtr(bias + shifted / room))
    return Interval(float(low), float(high), undefined)


def paired_p_value(differences: ArrayLike) -> float:
    """Compute the two-sided p-value of a difference of two methods from its replicates on the same draws.

    The null hypothesis is no difference. p = 2 (min(#(d <= 0), #(d >= 0)) + 1) / (B + 1), at most 1. It is
    never 0: the least is 2 / (B + 1). An undefined replicate counts on both sides: it can only make p larger.

    Args:
        differences: (B,); NaN where undefined.

    Returns:
        The p-value; NaN if no replicate is defined.

    Raises:
        ValueError: if `differences` is not one-dimensional.

    Examples:
        >>> paired_p_value([0.1, 0.2, 0.3])
        0.5
    """
    values, undefined = _defined(differences, 0.5)
    if not len(values):
        return math.nan
    fewest = min(np.sum(values <= 0), np.sum(values >= 0)) + undefined
    return min(1.0, float(2 * (fewest + 1) / (len(values) + undefined + 1)))


def _checked(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike,
             weights: ArrayLike) -> tuple[Floats, Floats, Integers, Integers]:
    """Check the arguments of `replicate` and return them as arrays."""
    (x, y), g, w = checked(scores, labels, several=True), np.asarray(groups), np.asarray(weights)
    if g.shape != y.shape or not len(y):
        raise ValueError("expected scores (N,) or (M, N), labels (N,) and groups (N,) with N > 0, "
                         f"found shapes {x.shape}, {y.shape} and {g.shape}")
    if w.ndim != 2 or g.dtype.kind not in "iu" or w.dtype.kind not in "iu" or (w < 0).any():
        raise ValueError("expected groups and weights (B, G) to be integers, weights >= 0; found "
                         f"{g.dtype} groups and {w.dtype} weights of shape {w.shape}")
    if not np.array_equal(np.unique(g), np.arange(w.shape[1])):
        raise ValueError(f"expected every group 0..{w.shape[1] - 1} of the weights to occur, and no other; "
                         f"found {len(np.unique(g))} groups from {g.min()} to {g.max()}; "
                         "renumber the references")
    return x, y, g.astype(np.int64), w.astype(np.int64)


def _defined(replicates: ArrayLike, level: float) -> tuple[Floats, int]:
    """Return the replicates that are not NaN, and the number of those that are."""
    values = np.asarray(replicates, dtype=np.float64)
    if values.ndim != 1 or not 0 < level < 1:
        raise ValueError("expected replicates of one method and a level in (0, 1), "
                         f"found shape {values.shape} and level {level}")
    kept = values[~np.isnan(values)]
    return kept, len(values) - len(kept)


def _varies(values: Floats, starts: Integers, weights: Integers) -> NDArray[np.bool_]:
    """Return whether the (M, N) values in each replicate are not all equal: (M, B)."""
    drawn = weights > 0
    lows, highs = np.minimum.reduceat(values, starts, axis=1), np.maximum.reduceat(values, starts, axis=1)
    return np.stack([np.where(drawn, low, math.inf).min(1) < np.where(drawn, high, -math.inf).max(1)
                     for low, high in zip(lows, highs, strict=True)])
