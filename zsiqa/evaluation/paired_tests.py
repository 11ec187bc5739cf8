"""Tests of the difference between the correlations of two metrics with the same labels.

Sources: Williams, J. R. Stat. Soc. B 21 (1959); Steiger, Psychological Bulletin 87 (1980); Zou, Psychological
Methods 12 (2007); all three as in Diedenhofen & Musch, PLoS ONE 10(4): e0121945 (2015). Holm, Scand. J.
Statist. 6 (1979).

r_jk and r_jh are the correlations of the two metrics with the labels, r_kh is the correlation of the metrics
with each other, all three in the same orientation; n is the number of pairs. The tests of Williams, Steiger
and Zou are made for Pearson's coefficient and assume independent pairs. Pairs that share a reference are not
independent: use `zsiqa.evaluation.bootstrap.paired_p_value` or `wilcoxon_over_references` for them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from zsiqa.evaluation.bootstrap import LEVEL
from zsiqa.evaluation.correlation import mid_ranks

FEW_REFERENCES = 13  # as scipy: 2**13 choices of signs are below the 9,999 that its permutation test tries
ROUNDING = 1e-12  # largest rounding error of a coefficient from `zsiqa.evaluation.bootstrap`
MOST_EXACT = 50  # as scipy; the 2**50 choices of signs are counted in whole numbers


class PairedTest(NamedTuple):
    """A test statistic and its two-sided p-value. NaN where undefined."""

    statistic: float
    p_value: float


class Wilcoxon(NamedTuple):
    """A signed-rank test over references.

    Attributes:
        statistic: the smaller of the two rank sums.
        p_value: two-sided.
        wins: references where the first metric is better.
        ties: references where both are equal.
        n: references that were compared.
        undefined: references left out because a correlation is undefined.
    """

    statistic: float
    p_value: float
    wins: int
    ties: int
    n: int
    undefined: int


def williams(r_jk: float, r_jh: float, r_kh: float, n: int) -> PairedTest:
    """Compute Williams' t of two correlations with the same labels, n - 3 degrees of freedom.

    Assumes independent pairs.

    Returns:
        The test; its statistic is positive when r_jk is larger, NaN if a correlation is NaN.

    Raises:
        ValueError: if a correlation is out of [-1, 1], the three cannot occur together, or n < 4.

    Examples:
        >>> round(williams(0.3, 0.4, 0.5, 100).statistic, 4)
        -1.0767
    """
    determinant = _checked(r_jk, r_jh, r_kh, n)
    if r_jk == r_jh and not math.isnan(determinant):
        return PairedTest(0.0, 1.0)
    mean = (r_jk + r_jh) / 2
    spread = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - r_kh) ** 3
    if not spread > 0:  # NaN, or metrics that are equal except for rounding
        return PairedTest(math.nan, math.nan)
    t = (r_jk - r_jh) * math.sqrt((n - 1) * (1 + r_kh) / spread)
    return PairedTest(t, 2 * float(stats.t.sf(math.fabs(t), n - 3)))


def steiger(r_jk: float, r_jh: float, r_kh: float, n: int) -> PairedTest:
    """Compute Steiger's z of two correlations with the same labels, with their mean in the covariance.

    Assumes independent pairs.

    Returns:
        The test; its statistic is positive when r_jk is larger, NaN if a correlation is NaN, or if r_jk or
        r_jh is -1 or 1.

    Raises:
        ValueError: if a correlation is out of [-1, 1], the three cannot occur together, or n < 4.

    Examples:
        >>> round(steiger(0.3, 0.4, 0.5, 100).statistic, 4)
        -1.0718
    """
    determinant = _checked(r_jk, r_jh, r_kh, n)
    if math.isnan(determinant) or max(r_jk**2, r_jh**2) == 1:
        return PairedTest(math.nan, math.nan)
    if r_jk == r_jh:
        return PairedTest(0.0, 1.0)
    square = ((r_jk + r_jh) / 2) ** 2
    covariance = (r_kh * (1 - 2 * square) - square * (1 - 2 * square - r_kh**2) / 2) / (1 - square) ** 2
    if not covariance < 1:
        return PairedTest(math.nan, math.nan)
    z = (math.atanh(r_jk) - math.atanh(r_jh)) * math.sqrt((n - 3) / (2 - 2 * covariance))
    return PairedTest(z, 2 * float(special.ndtr(-math.fabs(z))))


def zou_interval(r_jk: float, r_jh: float, r_kh: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Compute Zou's confidence interval of r_jk - r_jh. Assumes independent pairs.

    Returns:
        Low and high; NaN if a correlation is NaN, or if r_jk or r_jh is -1 or 1.

    Raises:
        ValueError: if a correlation is out of [-1, 1], the three cannot occur together, n < 4, or `level` is
            not in (0, 1).

    Examples:
        >>> [round(bound, 3) for bound in zou_interval(0.396, 0.179, 0.088, 66)]
        [-0.093, 0.517]
    """
    determinant = _checked(r_jk, r_jh, r_kh, n)
    if not 0 < level < 1:
        raise ValueError(f"expected a level in (0, 1), found {level}")
    if math.isnan(determinant) or max(r_jk**2, r_jh**2) == 1:
        return math.nan, math.nan
    reach = float(special.ndtri((1 + level) / 2)) / math.sqrt(n - 3)
    (l1, u1), (l2, u2) = ((math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach))
                          for r in (r_jk, r_jh))
    c = (((r_kh - r_jk * r_jh / 2) * (1 - r_jk**2 - r_jh**2 - r_kh**2) + r_kh**3)
         / ((1 - r_jk**2) * (1 - r_jh**2)))
    below = (r_jk - l1) ** 2 + (u2 - r_jh) ** 2 - 2 * c * (r_jk - l1) * (u2 - r_jh)
    above = (u1 - r_jk) ** 2 + (r_jh - l2) ** 2 - 2 * c * (u1 - r_jk) * (r_jh - l2)
    difference = r_jk - r_jh
    return difference - math.sqrt(max(below, 0)), difference + math.sqrt(max(above, 0))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust the p-values of a family of tests for multiple comparisons (Holm's step-down Bonferroni method).

    Args:
        p_values: any shape, in [0, 1]; NaN for a test that was not made and does not count.

    Returns:
        Adjusted p-values, same shape; NaN stays NaN.

    Raises:
        ValueError: if a value is out of [0, 1].

    Examples:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    made = p[~np.isnan(p)]
    if ((made < 0) | (made > 1)).any():
        raise ValueError(f"expected p-values in [0, 1], found {made.min()} to {made.max()}")
    order = np.argsort(made, kind="stable")
    adjusted = np.empty_like(made)
    adjusted[order] = np.maximum.accumulate(made[order] * np.arange(len(made), 0, -1)).clip(max=1)
    result = np.full(p.shape, math.nan)
    result[~np.isnan(p)] = adjusted
    return result


def bootstrap_t_tests(estimates: ArrayLike, replicates: ArrayLike, groups: int) -> NDArray[np.float64]:
    """Test the difference of every two metrics by its error over resampled references.

    Student's t with G - 1 degrees of freedom. The standard error of the resamples is multiplied by
    sqrt(G / (G - 1)): the variance of G drawn references is that of a sample divided by G, not by G - 1.

    Args:
        estimates: (M,) a coefficient of each metric.
        replicates: (M, B) of this coefficient, on the same draws; NaN where undefined.
        groups: G, the number of references.

    Returns:
        Two-sided p-values, (M, M); NaN with fewer than two references or defined replicates.
    """
    values, drawn = np.asarray(estimates, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    p_values = np.full((len(values), len(values)), math.nan)
    for row in range(len(values) if groups > 1 else 0):
        differences = drawn[row] - drawn[row:]
        enough = np.isfinite(differences).sum(axis=1) > 1
        error = np.full(len(differences), math.nan)
        error[enough] = np.nanstd(differences[enough], axis=1, ddof=1) * math.sqrt(groups / (groups - 1))
        size = np.abs(values[row] - values[row:])
        with np.errstate(invalid="ignore", divide="ignore"):
            p = 2 * stats.t.sf(size / error, groups - 1)
        p[np.fmax(size, error) < ROUNDING] = 1.0
        p[~enough] = math.nan
        p_values[row, row:] = p_values[row:, row] = p
    return p_values


def best_group(estimates: ArrayLike, replicates: ArrayLike, groups: int) -> NDArray[np.bool_]:
    """Return which metrics are not significantly worse than the best; False where the estimate is NaN, (M,).

    The p-values of `bootstrap_t_tests` are corrected over all pairs of metrics.

    Args:
        estimates, replicates, groups: see `bootstrap_t_tests`.
    """
    values = np.asarray(estimates, dtype=np.float64)
    p_values = bootstrap_t_tests(values, replicates, groups)
    above = np.triu_indices(len(values), k=1)
    worse = np.zeros(p_values.shape, dtype=bool)
    worse[above] = holm(p_values[above]) < 1 - LEVEL
    best = int(np.argmax(np.nan_to_num(values, nan=-math.inf)))
    return np.asarray(~(worse | worse.T)[best] & np.isfinite(values))


def wilcoxon_over_references(a: ArrayLike, b: ArrayLike) -> Wilcoxon:
    """Compare two metrics by their correlations within each reference (Wilcoxon's signed-rank test).

    References are the independent units here. Half of the ranks of equal correlations go to each side
    (`zero_method="zsplit"` of scipy). p-values are exact, except with ties among more than 13 references:
    there the normal approximation is used.

    Args:
        a: (G,) correlations of the first metric; NaN where undefined.
        b: (G,) correlations of the second metric on the same references.

    Returns:
        The test; its p-value is 1 if all correlations are equal, NaN if no reference has both.

    Raises:
        ValueError: if the shapes differ.

    Examples:
        >>> wilcoxon_over_references([0.9, 0.8, 0.7, 0.6], [0.8, 0.5, 0.5, 0.2])
        Wilcoxon(statistic=0.0, p_value=0.125, wins=4, ties=0, n=4, undefined=0)
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"expected two correlations of each reference, found shapes {x.shape} and {y.shape}")
    both = ~(np.isnan(x) | np.isnan(y))
    differences = x[both] - y[both]
    n, ties = len(differences), int(np.sum(differences == 0))
    statistic, p_value = math.nan, math.nan
    if n and ties == n:
        statistic, p_value = n * (n + 1) / 4, 1.0
    elif 1 < n <= FEW_REFERENCES:
        # Every choice of signs, as scipy does for ties, but in one array: 0.02 s instead of 0.8 s.
        exact = stats.permutation_test((differences,), _positive_ranks, permutation_type="samples",
                                       vectorized=True)
        statistic = float(min(exact.statistic, n * (n + 1) / 2 - exact.statistic))
        p_value = float(exact.pvalue)
    elif n:
        statistic, p_value = _signed_rank(differences)
    return Wilcoxon(statistic, p_value, int(np.sum(differences > 0)), ties, n, len(x) - n)


def _signed_rank(differences: np.ndarray) -> tuple[float, float]:
    """Compute what `scipy.stats.wilcoxon` does with `zero_method="zsplit"`, in a twentieth of its time."""
    n, size = len(differences), np.abs(differences)
    ranks = mid_ranks(size)
    above = float(ranks @ (1 + np.sign(differences))) / 2
    smaller = min(above, n * (n + 1) / 2 - above)
    ties = np.unique(size, return_counts=True)[1].astype(np.float64)
    if n <= MOST_EXACT and len(ties) == n and size.min() > 0:
        return smaller, min(1.0, 2 * float(_rank_sum_probabilities(n)[int(smaller)]))
    variance = (n * (n + 1) * (2 * n + 1) - float(np.sum(ties**3 - ties)) / 2) / 24
    return smaller, 2 * float(special.ndtr((smaller - n * (n + 1) / 4) / math.sqrt(variance)))


@cache
def _rank_sum_probabilities(n: int) -> NDArray[np.float64]:
    """Compute the cumulative probabilities of the sum of ranks 1..n, each included with probability 1/2."""
    counts = np.ones(1, dtype=np.int64)
    for rank in range(1, n + 1):
        counts = np.append(counts, np.zeros(rank, np.int64)) + np.append(np.zeros(rank, np.int64), counts)
    return np.asarray(np.cumsum(counts) / 2**n)


def _positive_ranks(differences: np.ndarray, axis: int) -> Any:
    return np.sum(stats.rankdata(np.abs(differences), axis=axis) * (1 + np.sign(differences)) / 2, axis=axis)


def _checked(r_jk: float, r_jh: float, r_kh: float, n: int) -> float:
    """Check the arguments; return the determinant of the correlation matrix, >= 0, or NaN for NaN."""
    if any(r**2 > 1 for r in (r_jk, r_jh, r_kh)) or n < 4:
        raise ValueError("expected correlations in [-1, 1] over at least 4 pairs, "
                         f"found {r_jk}, {r_jh}, {r_kh} over {n}")
    determinant = 1 - r_jk**2 - r_jh**2 - r_kh**2 + 2 * r_jk * r_jh * r_kh
    if determinant < -1e-9:
        raise ValueError(f"expected the correlations of three variables, but {r_jk}, {r_jh} and {r_kh} "
                         "cannot occur together; give all three the same orientation")
    return determinant if math.isnan(determinant) else max(determinant, 0.0)
