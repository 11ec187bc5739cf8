"""PLCC, SRCC and KRCC between scores and labels: docs/protocol.md section 7.

Source: ZS-IQA `calc_scores.py` at commit 1d8c1ce.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

COEFFICIENTS = ("plcc", "srcc", "krcc")
_BLOCK = 2**16  # scores that are ranked at once
FEW = 200  # pairs up to which comparing each with each is faster than scipy's sorting


class Correlation(NamedTuple):
    """Correlations; positive when the metric agrees with the labels, NaN where undefined."""

    plcc: float
    srcc: float
    krcc: float


def correlate(quality: ArrayLike, oriented_labels: ArrayLike,
              coefficients: Sequence[str] = COEFFICIENTS) -> Correlation:
    """Correlate scores with labels, pooled over all pairs.

    Raw Pearson (no logistic fit), Spearman, and Kendall's tau-b. The sign is kept: a negative value means
    that the metric is wrong more often than right.

    Args:
        quality: (N,) scores, larger = better, finite: a distance negated.
        oriented_labels: (N,) labels, larger = better, finite: MOS, or DMOS negated.
        coefficients: those to compute, to save time; the others are NaN.

    Returns:
        The three coefficients; NaN with fewer than two pairs, or when all scores or all labels are equal.

    Raises:
        ValueError: if the lengths differ or a value is not finite.

    Examples:
        >>> round(correlate([-0.1, -0.2, -0.4], [90.0, 70.0, 20.0]).srcc, 12)
        1.0
    """
    x, y = checked(quality, oriented_labels)
    found = correlate_within(x[None], y, [np.arange(len(x))], coefficients)
    return Correlation(*(float(found[name][0, 0]) if name in found else math.nan for name in COEFFICIENTS))


def checked(scores: ArrayLike, labels: ArrayLike, *,
            several: bool = False) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check scores, (N,), or (M, N) if `several` is allowed, and labels, (N,); return them as arrays.

    Raises:
        ValueError: if the lengths differ or a value is not finite.
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if y.ndim != 1 or x.ndim not in ((1, 2) if several else (1,)) or x.shape[-1:] != y.shape:
        raise ValueError(f"expected as many scores as labels, found shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("scores and labels must be finite; leave out pairs without a score, "
                         "and say how many")
    return x, y


def correlate_within(quality: np.ndarray, oriented_labels: np.ndarray, subsets: Sequence[np.ndarray],
                     coefficients: Sequence[str] = COEFFICIENTS) -> dict[str, np.ndarray]:
    """Correlate the scores of several metrics with the same labels, within each of several subsets of pairs.

    Args:
        quality: (M, N) scores, larger = better, finite.
        oriented_labels: (N,) labels, larger = better, finite.
        subsets: S arrays of rows, or masks of the pairs.
        coefficients: those to compute.

    Returns:
        By coefficient, (M, S); the same numbers as of `correlate`, NaN where undefined.
    """
    result = {name: np.full((len(quality), len(subsets)), math.nan) for name in coefficients}
    for column, pairs in enumerate(subsets):
        labels = oriented_labels[pairs][None]
        if not _vary(labels)[0]:
            continue
        step = max(1, _BLOCK // labels.size)
        for first in range(0, len(quality), step):
            scores = quality[first:first + step, pairs]
            rows = np.flatnonzero(_vary(scores))
            for name in coefficients:
                result[name][first + rows, column] = _correlate(scores[rows], labels, name)
    return result


def _vary(values: np.ndarray) -> np.ndarray:
    """Return whether the values of a row are not all equal: (M, n) to (M,)."""
    return np.asarray(np.ptp(values, axis=1) > 0 if values.size else np.zeros(len(values), bool))


def _correlate(scores: np.ndarray, labels: np.ndarray, name: str) -> list[float]:
    """Correlate each row of scores, (M, n), with the labels, (1, n); none is constant."""
    if name == "krcc":
        return [_kendall(row, labels[0]) for row in scores]
    units, (unit,) = (_units(mid_ranks(values) if name == "srcc" else values) for values in (scores, labels))
    return [max(-1.0, min(1.0, float(row @ unit))) for row in units]


def why_undefined(scores: ArrayLike, labels: ArrayLike) -> str:
    """Explain why `correlate` returns NaN; "" where it does not.

    Examples:
        >>> why_undefined([0.1], [90.0]), why_undefined([0.1, 0.2], [90.0, 90.0])
        ('it takes two pairs, found 1', 'all labels are equal')
        >>> why_undefined([0.1, 0.2], [1, 2])
        ''
    """
    if len(np.asarray(scores)) < 2:
        return f"it takes two pairs, found {len(np.asarray(scores))}"
    for kind, values in (("labels", labels), ("scores", scores)):
        if np.ptp(np.asarray(values)) == 0:
            return f"all {kind} are equal"
    return ""


def mid_ranks(values: np.ndarray) -> np.ndarray:
    """Rank values from 1 along the last axis; equal values share the mean of their ranks.

    Faster than `scipy.stats.rankdata`.

    Examples:
        >>> mid_ranks(np.array([0.5, 0.1, 0.5]))
        array([2.5, 1. , 2.5])
    """
    order = np.argsort(values, axis=-1)  # of equal values, any order gives the same ranks
    ascending = np.take_along_axis(values, order, axis=-1)
    first = np.ones(values.shape, bool)  # of equal values
    first[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], values.size)
    places = np.repeat((starts + ends + 1) / 2, ends - starts).reshape(values.shape)  # in all rows together
    ranks = np.empty(values.shape)
    before = np.arange(0, values.size, max(1, values.shape[-1])).reshape(*values.shape[:-1], 1)
    np.put_along_axis(ranks, order, places - before, axis=-1)
    return ranks


def _kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Compute tau-b of two vectors that are not constant."""
    if len(x) > FEW:
        return float(stats.kendalltau(x, y).statistic)
    x_signs, y_signs = ((np.greater.outer(v, v).view(np.int8) - np.less.outer(v, v).view(np.int8)).ravel()
                        for v in (x, y))
    # Twice: concordant minus discordant pairs, pairs not tied in x, in y.
    net, x_untied, y_untied = (int(np.sum(a * b, dtype=np.int64)) for a, b in (
        (x_signs, y_signs), (x_signs, x_signs), (y_signs, y_signs)))
    tau = net / 2 / math.sqrt(x_untied / 2) / math.sqrt(y_untied / 2)  # in the order of scipy: equal digits
    return max(-1.0, min(1.0, tau))


def _units(values: np.ndarray) -> np.ndarray:
    """Centre rows, (M, n), and scale them to length 1: Pearson's r is a product of two of these."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.array([[np.linalg.norm(row)] for row in centred]).reshape(-1, 1))


def per_reference(quality: ArrayLike, oriented_labels: ArrayLike, refs: ArrayLike,
                  coefficients: Sequence[str] = COEFFICIENTS) -> dict[str, np.ndarray]:
    """Correlate within each reference: shows how well a metric ranks the versions of one image.

    Args:
        quality: (N,) scores, larger = better, or (M, N) of M metrics.
        oriented_labels: (N,) labels, larger = better.
        refs: (N,) the reference of each pair.
        coefficients: those to compute.

    Returns:
        By coefficient, (G,) or (M, G), in the order of the sorted references; NaN where undefined.

    Raises:
        ValueError: if the lengths differ or a value is not finite.

    Examples:
        >>> per_reference([1, 2, 1, 2], [1, 2, 5, 3], ["a", "a", "b", "b"])["srcc"]
        array([ 1., -1.])
    """
    quality, oriented_labels = checked(quality, oriented_labels, several=True)
    _, groups, sizes = np.unique(refs, return_inverse=True, return_counts=True)
    by_group = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1]) if len(sizes) else []
    found = correlate_within(np.atleast_2d(quality), oriented_labels, by_group, coefficients)
    return {name: values if quality.ndim > 1 else values[0] for name, values in found.items()}


def mean_of_defined(values: np.ndarray) -> float:
    """Compute the mean of the values that are not NaN; NaN if there are none.

    Examples:
        >>> mean_of_defined(np.array([0.5, math.nan, 1.0]))
        0.75
    """
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else math.nan


def between_share(values: np.ndarray, groups: np.ndarray) -> float:
    """Compute the share of the variance between the means of groups, 0..1; NaN for constant values.

    Args:
        values: (N,) float64.
        groups: (N,) integers from 0: the group of each value.

    Examples:
        >>> between_share(np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 0, 1, 1]))
        0.8
    """
    counts = np.bincount(groups)
    means = np.bincount(groups, weights=values) / counts
    total = ((values - values.mean()) ** 2).sum()
    return float(counts @ (means - values.mean()) ** 2 / total) if total > 0 else math.nan
