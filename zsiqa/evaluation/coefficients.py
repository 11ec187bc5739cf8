"""Coefficients of the metrics of a table: pooled, over resampled references, and within each reference.

Ranks, tests, intervals and claims are all made from these, so they share the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from zsiqa.evaluation import bootstrap
from zsiqa.evaluation.correlation import COEFFICIENTS, per_reference
from zsiqa.evaluation.score_table import ScoreTable
from zsiqa.terminal import track

BATCH = 48  # metrics resampled at once: they share the work on the labels


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Coefficients of M metrics over G references.

    Attributes:
        table: the scores.
        weights: (1 + B, G) count of each reference: once each, then in B resamples. With a jackknife, its G
            rows are between the two.
        pooled: by coefficient, (M, 1 + B) over the pairs of the counted references, or (M, 1 + G + B).
    """

    table: ScoreTable
    weights: np.ndarray
    pooled: dict[str, np.ndarray]
    _within: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def groups(self) -> int:
        """Number of references."""
        return int(self.weights.shape[1])

    def within(self, coefficient: str) -> np.ndarray:
        """Correlate within each reference, in sorted order: (M, G), NaN where undefined (cached)."""
        if coefficient not in self._within:
            table = self.table
            self._within.update(per_reference(table.quality, table.labels, table.groups, (coefficient,)))
        return self._within[coefficient]

    def of(self, metrics: Sequence[str]) -> Coefficients:
        """Return the coefficients of some metrics, in this order."""
        rows = [self.table.metrics.index(metric) for metric in metrics]
        return Coefficients(self.table.of(rows), self.weights,
                         {name: values[rows] for name, values in self.pooled.items()},
                         {name: values[rows] for name, values in self._within.items()})


def resample(table: ScoreTable, replicates: int, seed: int, coefficients: Sequence[str] = COEFFICIENTS, *,
             jackknife: bool = False, what: str = "") -> Coefficients:
    """Resample the references of a table.

    Args:
        table: the scores.
        replicates: B.
        seed: of the draws.
        coefficients: those to compute.
        jackknife: also leave out each reference once.
        what: shown with the progress; "" shows none.
    """
    groups = int(table.groups.max()) + 1
    weights = np.vstack([np.ones((1, groups), dtype=int),
                         *([bootstrap.leave_one_out(groups)] if jackknife else []),
                         bootstrap.draw(groups, replicates, seed)])
    pooled = {name: np.empty((len(table.metrics), len(weights))) for name in coefficients}
    batches = [slice(first, first + BATCH) for first in range(0, len(table.metrics), BATCH)]
    for rows in track(batches, total=len(batches), unit="batches", what=what) if what else batches:
        for name, values in bootstrap.replicate(table.quality[rows], table.labels, table.groups, weights,
                                                coefficients).items():
            pooled[name][rows] = values
    return Coefficients(table, weights, pooled)
