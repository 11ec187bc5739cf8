"""Summary numbers of a curve over levels. Letters: L levels, G references, B replicates."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def mean_until(levels: ArrayLike, values: ArrayLike, end: float) -> Floats:
    """Compute the mean of a curve between its first level and `end`: straight lines between levels.

    Args:
        levels: (L,) increasing, at least two.
        values: (L,) or (L, B), of B curves.
        end: beyond the last level, the mean ends there.

    Returns:
        () or (B,) means; NaN where a value up to `end` is NaN.

    Raises:
        ValueError: if `end` does not lie above the first level.

    Examples:
        >>> float(mean_until([0, 2, 4], [1.0, 0.0, 0.0], 3))
        0.3333333333333333
    """
    x, y = np.asarray(levels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if not end > x[0]:
        raise ValueError(f"the mean needs an end above the first level {x[0]}, found {end}")
    end = min(end, float(x[-1]))
    last = int(np.searchsorted(x, end))  # the first level at or above the end
    share = (end - x[last - 1]) / (x[last] - x[last - 1])
    there = y[last] if share == 1 else y[last - 1] + share * (y[last] - y[last - 1])
    places, heights = np.append(x[:last], end), np.concatenate([y[:last], there[None]])
    return np.asarray(np.trapezoid(heights, places, axis=0) / (end - x[0]))


def first_reaching(levels: ArrayLike, values: ArrayLike, target: float) -> float:
    """Return the first level at which a curve reaches `target`, on straight lines between levels.

    Returns:
        The level; infinity if no level reaches it, NaN if the values before are not known.

    Examples:
        >>> first_reaching([0, 1, 2], [0.0, 0.5, 2.5], 1.0), first_reaching([0, 1], [0.0, 0.5], 1.0)
        (1.25, inf)
    """
    x, y = np.asarray(levels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    for place, value in enumerate(y):
        if math.isnan(value):
            return math.nan
        if value >= target:
            if place == 0:
                return float(x[0])
            before = y[place - 1]
            return float(x[place - 1] + (target - before) / (value - before) * (x[place] - x[place - 1]))
    return math.inf


class Yardsticks(NamedTuple):
    """Distances of real distortions from their reference, (G,) each: the smallest above 0, and the median."""

    mildest: Floats
    median: Floats


def yardsticks(distances: ArrayLike, groups: ArrayLike, count: int) -> Yardsticks:
    """Measure real distortions of each reference.

    Args:
        distances: (N,) distance of each distorted image from its reference by the metric: the quality of
            identical images minus its quality. Distances of 0 or less do not count as the mildest: the metric
            does not see them, or takes them for an improvement.
        groups: (N,) integers 0..count - 1, the reference of each.
        count: G.

    Returns:
        NaN for a reference without such an image.
    """
    values = pd.Series(np.asarray(distances, dtype=np.float64))
    mildest = values.where(values > 0).groupby(np.asarray(groups)).min()
    median = values.groupby(np.asarray(groups)).median()
    return Yardsticks(*(np.asarray(one.reindex(range(count)), np.float64) for one in (mildest, median)))


def in_units_of(responses: ArrayLike, yardstick: ArrayLike, weights: ArrayLike) -> Floats:
    """Divide the median response over references by the median yardstick over references.

    The medians are taken first: a ratio of one reference with a yardstick near 0 says little.

    Args:
        responses: (L, G) distance of each perturbed reference from itself.
        yardstick: (G,); NaN where a reference has none.
        weights: (B, G) count of each reference in each replicate; rows add up to G, such as ones, or those of
            `bootstrap.draw`.

    Returns:
        (L, B) ratios; NaN where the median yardstick is not above 0.
    """
    distances, units = np.asarray(responses, dtype=np.float64), np.asarray(yardstick, dtype=np.float64)
    counts = np.asarray(weights)
    flat = np.repeat(np.tile(np.arange(counts.shape[1]), len(counts)), counts.ravel())
    drawn = flat.reshape(len(counts), -1)  # B, G
    unit = _median_of_defined(units[drawn])
    values = np.stack([np.median(row[drawn], axis=1) for row in distances])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(unit > 0, values / unit, math.nan)


def _median_of_defined(values: Floats) -> Floats:
    """Compute the median of each row without its NaN; NaN for a row of NaN."""
    some = np.isfinite(values).any(axis=1)
    result = np.full(len(values), math.nan)
    result[some] = np.nanmedian(values[some], axis=1)
    return result
