"""Exact cluster bootstrap of correlations: references are drawn with replacement, each with all its pairs.

Sources: Davison & Hinkley, Bootstrap Methods and their Application (1997), for the +1 of the p-value; Efron,
Better Bootstrap Confidence Intervals, JASA 82 (1987), for BCa; Kendall (1945) for tau-b and mid-ranks.

A replicate is a vector of integer weights, how often each reference was drawn, and nothing is sorted or compared
anew: the result is that of the resampled pairs written out, to rounding (about 1e-14).

Letters: B replicates, G references, M methods, N pairs; w the weights of a replicate, n = sum of the drawn pairs.
With s(a, b) = sign(a - b), summed over the members of a reference:

- PLCC: within-reference moments, computed once, and the references' means around the mean of the replicate.
- SRCC: twice the mid-rank of pair i, less its mean n, is sum_h w_h A[i, h] with A[i, h] = sum over j in h of
  s(x_i, x_j). A replicate is a column of a matrix product. All are integers: exact in float32 up to n = 2^24.
- KRCC: with C[g, h] = sum over i in g, j in h of s(x_i, x_j) s(m_i, m_j), concordant less discordant pairs are
  w'Cw / 2. With T[g, h] = how many of these i and j are tied in x, (n^2 - w'Tw) / 2 pairs are not. A pair
  and its own copy are a tie in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special

COEFFICIENTS = ("plcc", "srcc", "krcc")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROWS = 32  # Compared at once: sums of as many signs fit int8, and the blocks stay in the cache.
_BLOCK = 2**22  # Elements of the largest temporary array of ranks.


class Interval(NamedTuple):
    """A confidence interval; NaN where it cannot be had. `undefined` replicates were left out."""

    low: float
    high: float
    undefined: int


def draw(num_groups: int, replicates: int = 2000, seed: int = 0) -> Integers:
    """Draw references with replacement.

    Args:
        num_groups: G, how many there are and how many each replicate draws.
        replicates: B.
        seed: of `numpy.random.default_rng`; the same seed gives the same draws to every method.

    Returns:
        How often each replicate drew each reference, (B, G). Rows sum to G.

    Raises:
        ValueError: if G or B is below 1.

    Examples:
        >>> draw(3, replicates=2).sum(1).tolist()
        [3, 3]
    """
    if num_groups < 1 or replicates < 1:
        raise ValueError(f"expected at least 1 reference and 1 replicate, found {num_groups} and {replicates}")
    drawn = np.random.default_rng(seed).integers(num_groups, size=(replicates, num_groups))
    drawn += num_groups * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * num_groups).reshape(replicates, num_groups)


def leave_one_out(num_groups: int) -> Integers:
    """Weights of the jackknife, (G, G): row g leaves reference g out."""
    return np.ones((num_groups, num_groups), dtype=np.int64) - np.eye(num_groups, dtype=np.int64)


def replicate(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike,
              coefficients: Sequence[str] = COEFFICIENTS) -> dict[str, Floats]:
    """Correlate scores with labels, pooled over the pairs of the drawn references, for every replicate.

    Methods that share pairs share the work on the labels, and the draws: differences between them are paired. Ones,
    `leave_one_out` and `draw` may be stacked into one array of weights, so that estimate, jackknife and bootstrap
    cost one preparation. Beside one method's work, memory grows by about N G bytes a method.

    Args:
        scores: (N,), or (M, N) for M methods; higher is better, finite.
        labels: (N,); higher is better, finite.
        groups: (N,) integers: the reference of each pair, 0..G-1, each at least once, in any order.
        weights: (B, G) integers >= 0: how often a replicate has a reference, as `draw` returns.
        coefficients: of `plcc`, `srcc` and `krcc` (tau-b).

    Returns:
        By coefficient, (B,) or (M, B) values. NaN where all scores or all labels of a replicate are equal, or
        where it has fewer than two pairs.

    Raises:
        ValueError: if an argument is not as said above.

    Examples:
        >>> replicate([1.0, 2.0, 3.0, 5.0], [1.0, 3.0, 2.0, 9.0], [0, 0, 1, 1], [[1, 1], [0, 2]])["srcc"].tolist()
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
    compute = {"plcc": _pearson, "srcc": _spearman, "krcc": _kendall}
    result = {}
    for name in coefficients:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = compute[name](methods, labels_sorted, starts, w)
        values = np.where(defined, values.clip(-1, 1), math.nan)
        result[name] = values.reshape(*x.shape[:-1], len(w))
    return result


def percentile_interval(replicates: ArrayLike, level: float = 0.95) -> Interval:
    """The interval that holds the middle `level` of the replicates.

    Args:
        replicates: (B,); NaN where undefined. Those are left out and counted.
        level: in (0, 1).

    Raises:
        ValueError: if `replicates` has not one axis, or `level` is out of range.
    """
    values, undefined = _defined(replicates, level)
    if not len(values):
        return Interval(math.nan, math.nan, undefined)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), undefined)


def bca_interval(estimate: float, replicates: ArrayLike, jackknife: ArrayLike, level: float = 0.95) -> Interval:
    """The bias-corrected and accelerated interval: better than `percentile_interval` for few references.

    Replicates equal to the estimate count half below it.

    Args:
        estimate: over all references.
        replicates: (B,); NaN where undefined. Those are left out and counted.
        jackknife: (G,), the estimates with each reference left out once: weights `leave_one_out`.
        level: in (0, 1).

    Returns:
        NaN where it does not exist: the estimate or a jackknife value is undefined, or all replicates lie on one
        side of the estimate.

    Raises:
        ValueError: if `replicates` or `jackknife` has not one axis, or `level` is out of range.
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
    """Two-sided p-value of no difference, from the replicates of a difference of two methods on the same draws.

    2 (min(#(d <= 0), #(d >= 0)) + 1) / (B + 1), at most 1. It is never 0: the least is 2 / (B + 1). An undefined
    replicate counts on both sides, so that it can only make the p-value larger.

    Args:
        differences: (B,); NaN where undefined.

    Returns:
        NaN if no replicate is defined.

    Raises:
        ValueError: if `differences` has not one axis.

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
    """The arguments of `replicate` as arrays."""
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    g, w = np.asarray(groups), np.asarray(weights)
    if y.ndim != 1 or x.ndim not in (1, 2) or x.shape[-1:] != y.shape or g.shape != y.shape or not len(y):
        raise ValueError("expected scores (N,) or (M, N), labels (N,) and groups (N,) with N > 0, found shapes "
                         f"{x.shape}, {y.shape} and {g.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("scores and labels must be finite; leave pairs without a score out, and say how many")
    if w.ndim != 2 or g.dtype.kind not in "iu" or w.dtype.kind not in "iu" or (w < 0).any():
        raise ValueError("expected groups and weights (B, G) to be integers, weights >= 0; found "
                         f"{g.dtype} groups and {w.dtype} weights of shape {w.shape}")
    if not np.array_equal(np.unique(g), np.arange(w.shape[1])):
        raise ValueError(f"expected every group 0..{w.shape[1] - 1} of the weights to occur, and no other; found "
                         f"{len(np.unique(g))} groups from {g.min()} to {g.max()}; number the references anew")
    return x, y, g.astype(np.int64), w.astype(np.int64)


def _defined(replicates: ArrayLike, level: float) -> tuple[Floats, int]:
    """The replicates that are not NaN, and how many are."""
    values = np.asarray(replicates, dtype=np.float64)
    if values.ndim != 1 or not 0 < level < 1:
        raise ValueError(f"expected replicates of one method and a level in (0, 1), found shape {values.shape} "
                         f"and level {level}")
    kept = values[~np.isnan(values)]
    return kept, len(values) - len(kept)


def _varies(values: Floats, starts: Integers, weights: Integers) -> NDArray[np.bool_]:
    """Whether the (M, N) values of a replicate are not all equal: (M, B)."""
    drawn = weights > 0
    lows, highs = np.minimum.reduceat(values, starts, axis=1), np.maximum.reduceat(values, starts, axis=1)
    return np.stack([np.where(drawn, low, math.inf).min(1) < np.where(drawn, high, -math.inf).max(1)
                     for low, high in zip(lows, highs, strict=True)])


def _sizes(starts: Integers, total: int) -> Integers:
    """How many pairs each reference has: (G,)."""
    return np.diff(starts, append=total)


def _dense(values: Floats) -> tuple[NDArray[Any], int]:
    """Ranks without gaps, 0..V-1 for V distinct values, in a type small enough to compare fast, and V."""
    distinct, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int16 if len(distinct) <= 2**15 else np.int32), len(distinct)


def _pearson(scores: Floats, labels: Floats, starts: Integers, weights: Integers) -> Floats:
    """PLCC, (M, B). Sums of squares within and between references: no difference of large numbers."""
    sizes = _sizes(starts, len(labels))
    group = np.repeat(np.arange(len(starts)), sizes)
    pairs = (weights * sizes).astype(np.float64)  # B, G
    total = pairs.sum(1)

    def split(values: Floats) -> tuple[Floats, Floats]:
        """Deviations from the reference's mean, (N,), and of that mean from the replicate's, (B, G)."""
        spread = np.ptp(values)
        values = (values - values.mean()) / (spread if spread > 0 else 1.0)
        means = np.add.reduceat(values, starts) / sizes
        return values - means[group], means - (pairs @ means / total)[:, None]

    def moment(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> Floats:
        within, between = np.add.reduceat(a[0] * b[0], starts), (pairs * a[1] * b[1]).sum(1)
        return np.asarray(weights @ within + between)

    y = split(labels)
    yy = moment(y, y)
    result = []
    for row in scores:
        x = split(row)
        result.append(moment(x, y) / np.sqrt(moment(x, x) * yy))
    return np.stack(result)


def _spearman(scores: Floats, labels: Floats, starts: Integers, weights: Integers) -> Floats:
    """SRCC, (M, B): Pearson's coefficient of the centred, doubled mid-ranks."""
    sizes = _sizes(starts, len(labels))
    kind = np.float32 if (weights @ sizes).max() < 2**24 else np.float64
    columns = weights.T.astype(kind)  # G, B
    signs = [_sign_sums(row, sizes) for row in (labels, *scores)]
    sums = np.zeros((2, len(scores), len(weights)))  # of products with the labels' ranks, of squares
    squares = np.zeros(len(weights))
    step = max(1, _BLOCK // int(sizes.max()))
    for first in range(0, len(weights), step):
        block = slice(first, first + step)
        drawn = np.ascontiguousarray(columns[:, block])
        for group, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            weight = weights[block, group]
            rows = slice(start, start + size)
            y, *ranks = ((table[values[rows]].astype(kind) @ drawn) for values, table in signs)
            squares[block] += weight * _column_products(y, y)
            for method, x in enumerate(ranks):
                sums[0, method, block] += weight * _column_products(x, y)
                sums[1, method, block] += weight * _column_products(x, x)
    return np.asarray(sums[0] / np.sqrt(sums[1] * squares))


def _column_products(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Sum over rows of a b, in float64: exact for whole numbers below 2^24 in float32."""
    return np.asarray(np.einsum("ib,ib->b", a, b, dtype=np.float64))


def _sign_sums(values: Floats, sizes: Integers) -> tuple[NDArray[Any], NDArray[Any]]:
    """Dense ranks (N,) and, for each distinct value, its sums of signs against every reference: (V, G)."""
    ranks, distinct = _dense(values)
    counts = np.zeros((distinct + 1, len(sizes)), dtype=np.int32)
    np.add.at(counts, (ranks.astype(np.int64) + 1, np.repeat(np.arange(len(sizes)), sizes)), 1)
    up_to = np.cumsum(counts, axis=0, dtype=np.int32)
    # Members below less members above.
    return ranks, (up_to[:-1] + up_to[1:] - up_to[-1]).astype(np.min_scalar_type(-int(sizes.max()) - 1))


def _kendall(scores: Floats, labels: Floats, starts: Integers, weights: Integers) -> Floats:
    """KRCC (tau-b), (M, B)."""
    sizes = _sizes(starts, len(labels))
    w = weights.astype(np.float64)
    pairs = (w @ sizes) ** 2

    def untied(values: Floats) -> Floats:
        """Twice the number of pairs whose values differ: (B,)."""
        ranks, distinct = _dense(values)
        group = np.repeat(np.arange(len(starts)), sizes)
        counts = sparse.csr_array((np.ones(len(values)), (group, ranks)), shape=(len(starts), distinct))
        return pairs - _quadratic(w, (counts @ counts.T).toarray())

    y = untied(labels)
    concordance = _concordance([_dense(row)[0] for row in scores], _dense(labels)[0], starts)
    return np.stack([_quadratic(w, c) / np.sqrt(untied(row) * y)
                     for row, c in zip(scores, concordance, strict=True)])


def _quadratic(weights: Floats, matrix: Floats) -> Floats:
    """The quadratic form w'Mw of every row w of the weights: (B,)."""
    return np.asarray((weights @ matrix * weights).sum(1))


def _concordance(scores: Sequence[NDArray[Any]], labels: NDArray[Any], starts: Integers) -> Floats:
    """C of the module's text, for each method: (M, G, G)."""
    total = len(labels)
    result = np.zeros((len(scores), len(starts), len(starts)))
    for group, (start, end) in enumerate(zip(starts, [*starts[1:], total], strict=True)):
        sums = np.zeros((len(scores), total - start), dtype=np.int64)  # over the rows of the group
        for row in range(start, end, _ROWS):
            rows = slice(row, min(row + _ROWS, end))
            label_signs = _signs(labels, rows, start)
            for method, ranks in enumerate(scores):
                sums[method] += np.add.reduce(_signs(ranks, rows, start) * label_signs, axis=0, dtype=np.int8)
        result[:, group, group:] = np.add.reduceat(sums, starts[group:] - start, axis=1)
        result[:, group:, group] = result[:, group, group:]
    return result


def _signs(ranks: NDArray[Any], rows: slice, start: int) -> NDArray[np.int8]:
    """Sign of ranks[i] - ranks[j], for i in `rows` and all j from `start` on."""
    left, right = ranks[rows, None], ranks[start:]
    return (left > right).view(np.int8) - (left < right).view(np.int8)
