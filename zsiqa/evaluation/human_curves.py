"""Curves of metrics beside people's response curves (RAID): agreement by rank and by shape, per family.

People's responses are in units of their standard deviation, so errors are, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from zsiqa.evaluation import bootstrap
from zsiqa.evaluation.correlation import correlate, mean_of_defined, per_reference
from zsiqa.evaluation.score_table import ScoreTable, load_table
from zsiqa.results.score_folder import ScoreFolder

DATASET = "raid"
ALL = "all"
NAMED_LEVEL = r"_level_(\d+)$"  # in the pair_id


def affine_fit(distances: ArrayLike, responses: ArrayLike) -> NDArray[np.float64]:
    """Fit responses by a + b * distance, b at least 0, with least squares; return the fitted values, (N,).

    Examples:
        >>> affine_fit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]).round(9).tolist()
        [1.0, 3.0, 5.0]
    """
    x, y = np.asarray(distances, dtype=np.float64), np.asarray(responses, dtype=np.float64)
    centred = x - x.mean()
    squares = float(centred @ centred)
    slope = max(0.0, float(centred @ y) / squares) if squares > 0 else 0.0
    return np.asarray(y.mean() + slope * centred)


def monotone_fit(distances: ArrayLike, responses: ArrayLike) -> NDArray[np.float64]:
    """Fit responses by a rising step function of the distance with least squares; return the values, (N,).

    Isotonic regression; pairs of equal distance get one value.

    Examples:
        >>> monotone_fit([1.0, 2.0, 3.0, 3.0], [0.0, 3.0, 1.0, 2.0]).tolist()
        [0.0, 2.0, 2.0, 2.0]
    """
    x, y = np.asarray(distances, dtype=np.float64), np.asarray(responses, dtype=np.float64)
    _, step, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(step, weights=y) / counts
    return np.asarray(isotonic_regression(means, weights=counts).x[step])


class People(NamedTuple):
    """Comparison of metrics with people.

    Attributes:
        rows: one row a metric and family, and one for all families together. `srcc` between scores and
            responses, with interval, and `srcc_per_ref`, the mean within references. `rmse_affine` and
            `rmse_monotone`: root of the mean squared difference of responses and scores after the best line
            and after the best rising step function. `sd`: the same after the best constant; the other two are
            never larger. `bias`: one rising step function for all families predicts people's responses from
            the scores; `bias` is the mean over the family of the prediction minus the response. Above 0, the
            metric finds the family's differences larger than people do.
        curves: one row a metric, family and level: `response` of people, and `fitted`, the response predicted
            from the metric by the best line of the family. Both are means over references. Empty if names do
            not hold levels.
    """

    rows: pd.DataFrame
    curves: pd.DataFrame


def compare_with_people(folder: ScoreFolder, metrics: Sequence[str] | None, replicates: int, seed: int,
                        notes: list[str]) -> People:
    """Compare the curves of metrics with people's.

    Args:
        folder: folder of scores; those of RAID, not perturbed, are used.
        metrics: names; None for all.
        replicates, seed: of the bootstrap over references.
        notes: list that gets a line for everything that is left out.

    Raises:
        StoreError: as `load_table`.
    """
    table = load_table(folder, DATASET, "original", metrics, notes)
    lines = [line for row in range(len(table.metrics)) for line in _compare(table, row, replicates, seed)]
    return People(pd.DataFrame(lines), _mean_curves(table))


def _mean_curves(table: ScoreTable) -> pd.DataFrame:
    levels = pd.Series(table.ids).str.extract(NAMED_LEVEL, expand=False).astype(float)
    frames = []
    for metric, quality in zip(table.metrics, table.quality, strict=True):
        for family in dict.fromkeys(table.types.tolist()):
            use = table.types == family
            fitted = affine_fit(-quality[use], -table.labels[use])
            frame = pd.DataFrame({"level": levels[use].to_numpy(), "response": -table.labels[use],
                                  "fitted": fitted})
            means = frame.groupby("level", as_index=False).mean()  # leaves out names without a level
            frames.append(means.assign(metric=metric, family=family))
    return pd.concat(frames, ignore_index=True)


def _compare(table: ScoreTable, row: int, replicates: int, seed: int) -> list[dict[str, Any]]:
    quality, responses = table.quality[row], -table.labels  # a label is a difference: lower is better
    bias = monotone_fit(-quality, responses) - responses
    lines = []
    for family in [*dict.fromkeys(table.types.tolist()), ALL]:
        use = np.ones(len(quality), dtype=bool) if family == ALL else table.types == family
        refs, groups = np.unique(table.refs[use], return_inverse=True)
        distances, wanted = -quality[use], responses[use]
        values = correlate(quality[use], table.labels[use], ("srcc",))
        drawn = bootstrap.replicate(quality[use], table.labels[use], groups,
                                    bootstrap.draw(len(refs), replicates, seed), ["srcc"])["srcc"]
        low, high, _ = bootstrap.interval_over_references(drawn, len(refs))
        within = per_reference(quality[use], table.labels[use], table.refs[use], ("srcc",))["srcc"]
        lines.append({
            "metric": table.metrics[row], "family": family, "pairs": int(use.sum()), "references": len(refs),
            "srcc": values.srcc, "srcc_low": low, "srcc_high": high, "srcc_per_ref": mean_of_defined(within),
            "rmse_affine": _rms(affine_fit(distances, wanted) - wanted),
            "rmse_monotone": _rms(monotone_fit(distances, wanted) - wanted),
            "sd": float(wanted.std()), "bias": float(bias[use].mean())})
    return lines


def _rms(values: NDArray[np.float64]) -> float:
    return math.sqrt(float((values**2).mean()))
