"""Detection of identical images with different names and labels, and of non-deterministic metrics.

Both are found from scores alone. Two versions of one reference count as identical if they have bit-identical
scores under every deterministic metric. A metric counts as deterministic if it gives equal scores to most of
the pairs that have equal scores under more than half of the metrics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_METRICS = 3  # fewer are weak evidence: a coarse metric has ties
MOST = 0.75  # a deterministic metric gives equal scores to more than this share of the pairs


@dataclass(frozen=True, eq=False)
class Identical:
    """Identical images of a data set, and the metrics that score them equally.

    Attributes:
        pairs: (P, 2) row numbers of two identical images.
        groups: row numbers of identical images, group by group: `pairs` joined.
        equal_share: (M,) the share of `pairs` to which each metric gives equal scores; NaN without pairs.
        deterministic: (M,) bool; True unless the scores show otherwise.
    """

    pairs: np.ndarray
    groups: list[list[int]]
    equal_share: np.ndarray
    deterministic: np.ndarray


def find_identical(values: np.ndarray, refs: np.ndarray, metrics: Sequence[str] | None = None) -> Identical:
    """Find identical images.

    Args:
        values: (M, N) scores of M metrics.
        refs: (N,) the reference of each image; only versions of one reference are compared.
        metrics: (M,) the metric of each row of `values`; several rows of one metric count once, because they
            share their ties. None: every row is a metric.
    """
    num_metrics, num_images = values.shape
    nothing = Identical(np.empty((0, 2), dtype=int), [], np.full(num_metrics, np.nan),
                        np.ones(num_metrics, dtype=bool))
    if not num_images or len(set(metrics or range(num_metrics))) < FEWEST_METRICS:
        return nothing
    candidates = []
    _, groups = np.unique(refs, return_inverse=True)
    for group in range(groups.max(initial=-1) + 1):
        rows = np.flatnonzero(groups == group)
        inside = values[:, rows]
        votes = (inside[:, :, None] == inside[:, None, :]).sum(axis=0)  # (n, n)
        first, second = np.nonzero(np.triu(votes > num_metrics / 2, k=1))
        candidates.append(np.stack([rows[first], rows[second]], axis=1))
    found = np.concatenate(candidates)
    if not len(found):
        return nothing
    equal = values[:, found[:, 0]] == values[:, found[:, 1]]  # (M, P)
    deterministic = equal.mean(axis=1) > MOST
    same = equal[deterministic].all(axis=0)
    names = metrics or range(num_metrics)
    witnesses = {name for name, sure in zip(names, deterministic, strict=True) if sure}
    if not same.any() or len(witnesses) < FEWEST_METRICS:
        return nothing
    return Identical(found[same], _join(found[same], num_images), equal[:, same].mean(axis=1), deterministic)


def _join(pairs: np.ndarray, num_images: int) -> list[list[int]]:
    """Join pairs of rows that share a row into groups, in the order of the rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(num_images, num_images))
    _, group = connected_components(links, directed=False)
    members: dict[int, list[int]] = {}
    for row in np.unique(pairs):
        members.setdefault(int(group[row]), []).append(int(row))
    return list(members.values())


def noise_share(values: np.ndarray, pairs: np.ndarray) -> float:
    """Estimate the share of a metric's variance that is its own randomness: 0 for a deterministic metric.

    The mean squared difference between identical images is twice the variance of the randomness.

    Args:
        values: (N,) scores.
        pairs: (P, 2) row numbers of two identical images.
    """
    difference = values[pairs[:, 0]] - values[pairs[:, 1]]
    return float((difference**2).mean() / 2 / values.var())


def name_pattern(ids: Sequence[str], refs: Sequence[str]) -> tuple[str, ...]:
    """Replace the name of the reference in the names of a group by "*", to make a rule in the names visible.

    Examples:
        >>> name_pattern(["pipal/A0010_02_00", "pipal/A0010_02_01"], ["A0010", "A0010"])
        ('*_02_00', '*_02_01')
    """
    stems = [re.sub(r"\.\w+$", "", ref) for ref in refs]
    return tuple(re.sub(re.escape(stem), "*", name.partition("/")[2] or name, flags=re.IGNORECASE)
                 if stem else name for name, stem in zip(ids, stems, strict=True))
